/** Reads what a SETTINGS frame holds: RFC 9113 section 6.5. */
import {
  CODE,
  ConnectionError,
  DEFAULT_FRAME_BYTES,
  MAX_WINDOW_BYTES,
  SETTING,
} from './protocol.ts'

const ENTRY_BYTES = 6
const MAX_FRAME_BYTES = 2 ** 24 - 1

/** The settings of a frame, in order. Throws a `ConnectionError` for values that are none (section 6.5.2). */
export function* readSettings(
  bytes: Buffer,
  start: number,
  length: number,
): Generator<[id: number, value: number]> {
  if (length % ENTRY_BYTES !== 0) {
    throw new ConnectionError(CODE.FRAME_SIZE_ERROR, 'SETTINGS of an odd length')
  }
  for (let at = start; at < start + length; at += ENTRY_BYTES) {
    const id = bytes.readUInt16BE(at)
    const value = bytes.readUInt32BE(at + 2)
    if (id === SETTING.ENABLE_PUSH && value > 1) {
      throw new ConnectionError(CODE.PROTOCOL_ERROR, 'ENABLE_PUSH')
    }
    if (id === SETTING.INITIAL_WINDOW_SIZE && value > MAX_WINDOW_BYTES) {
      throw new ConnectionError(CODE.FLOW_CONTROL_ERROR, 'INITIAL_WINDOW_SIZE')
    }
    if (id === SETTING.MAX_FRAME_SIZE && (value < DEFAULT_FRAME_BYTES || value > MAX_FRAME_BYTES)) {
      throw new ConnectionError(CODE.PROTOCOL_ERROR, 'MAX_FRAME_SIZE')
    }
    yield [id, value]
  }
}
