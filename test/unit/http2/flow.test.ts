/**
 * Flow control under any order of events: what a strict peer and an application do at random must
 * lose no byte, invent none, break no window, and leave nothing behind.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { fieldBlock } from '../../../src/http2/field-encoder.ts'
import { CODE, SETTING } from '../../../src/http2/protocol.ts'
import type { Field } from './reference-hpack.ts'
import {
  Asked,
  ask,
  type ClientUnderTest,
  expectFullWindow,
  open,
  type Served,
  type ServerUnderTest,
  serve,
} from './sessions.ts'
import type { PeerStream, StrictPeer } from './strict-peer.ts'

const OK: readonly Field[] = [[':status', '200']]
const END_OK: readonly Field[] = [['grpc-status', '0']]
const FIELDS = { ':method': 'POST', ':scheme': 'http', ':path': '/a' }

/** A step: what to do, to which stream, and with how much. */
const anyStep = <Kind extends string>(...kinds: readonly Kind[]) =>
  fc.record({ kind: fc.constantFrom(...kinds), pick: fc.nat(1000), size: fc.nat(120_000) })

/** Bytes that differ from place to place, so that a lost or moved one shows. */
function pattern(seed: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  for (let at = 0; at < length; at += 1) bytes[at] = (seed * 31 + at * 7 + (at >> 8)) & 0xff
  return bytes
}

const nextTurn = () => new Promise(setImmediate)

/** Settings and windows at random: the same for both ends. */
function steer(peer: StrictPeer, kind: string, size: number, stream: PeerStream | undefined): void {
  if (kind === 'initial window') peer.sendSettings([[SETTING.INITIAL_WINDOW_SIZE, size]])
  else if (kind === 'frame size') peer.sendSettings([[SETTING.MAX_FRAME_SIZE, 16_384 + size]])
  else if (kind === 'table size') peer.sendSettings([[SETTING.HEADER_TABLE_SIZE, size % 8192]])
  else if (kind === 'ping') peer.ping(pattern(size, 8))
  else if (kind === 'grant' && size > 0) peer.grant(size)
  else if (kind === 'grant stream' && size > 0 && stream !== undefined) peer.grant(size, stream)
}

/** Opens every window until nothing more comes. */
async function drain(peer: StrictPeer, flush: () => void): Promise<void> {
  peer.sendSettings([[SETTING.INITIAL_WINDOW_SIZE, 1_000_000]])
  let before = -1
  for (let total = 0; total !== before; ) {
    before = total
    flush()
    await nextTurn()
    peer.grant(200_000)
    total = [...peer.streams.values()].reduce(
      (sum, { data, hasEngineEnded }) =>
        sum + Number(hasEngineEnded) + data.reduce((all, each) => all + each.length, 0),
      0,
    )
  }
}

const bodyOf = (stream: PeerStream) => Buffer.concat(stream.data)
const isOpen = (stream: PeerStream) =>
  !stream.isPeerReset && stream.engineReset === undefined && !stream.hasPeerEnded

describe('flow control', () => {
  it('of the server holds under any order of events', async () => {
    interface Case {
      readonly stream: PeerStream
      readonly request: Served
      sent: Buffer[]
      answer: Buffer | undefined
      hasTrailers: boolean
      isStarted: boolean
      isAbandoned: boolean
    }

    const finish = async (test: ServerUnderTest, cases: readonly Case[]): Promise<void> => {
      const { peer, socket, connection } = test
      socket.unstick()
      for (const each of cases) {
        if (isOpen(each.stream)) {
          if (each.stream.window >= 0) peer.sendData(each.stream, Buffer.alloc(0), true)
        }
        if (!each.isStarted) each.request.stream.start(each.request)
        each.request.stream.resume()
        if (each.answer === undefined) {
          each.answer = Buffer.alloc(0)
          each.request.stream.answer(200, {})
        }
      }
      peer.read()
      await drain(peer, () => peer.read())
      assert.equal(connection.isClosed, false)
      assert.equal(connection.streams.size, 0)
      assert.equal(connection.blockedStreams, 0)
      for (const { stream, request, sent, answer, hasTrailers, isAbandoned } of cases) {
        const all = Buffer.concat(sent)
        const { received } = request
        assert.ok(all.subarray(0, received.length).equals(received), 'a body came changed')
        if (request.ends > 0) assert.equal(received.length, all.length, 'half a body was ended')
        const isReset = stream.isPeerReset || isAbandoned
        const got = bodyOf(stream)
        assert.ok(answer !== undefined)
        assert.ok(answer.subarray(0, got.length).equals(got), 'an answer came changed')
        if (isReset) continue
        assert.equal(got.length, answer.length, 'an answer was cut off')
        assert.equal(stream.hasEngineEnded, true)
        assert.deepEqual(stream.sections, hasTrailers ? [OK, END_OK] : [OK])
      }
      assert.equal(connection.sendWindow, peer.allowance, 'the two ends count differently')
      const { stream, request } = open(test, 9999, false)
      request.stream.start(request)
      expectFullWindow(peer, () => peer.sendData(stream, Buffer.alloc(700), false))
    }

    const run = async (
      steps: readonly { kind: string; pick: number; size: number }[],
    ): Promise<void> => {
      const test = serve()
      const { peer, socket } = test
      const cases: Case[] = []
      for (const { kind, pick, size } of steps) {
        const one = cases[pick % Math.max(1, cases.length)]
        if (kind === 'open') {
          const { stream, request } = open(test, cases.length * 2 + 1, pick % 3 === 0)
          cases.push({
            stream,
            request,
            sent: [],
            answer: undefined,
            hasTrailers: false,
            isStarted: false,
            isAbandoned: false,
          })
        } else if (kind === 'stick') socket.isStuck = true
        else if (kind === 'unstick') socket.unstick()
        else if (kind === 'turn') await nextTurn()
        else steer(peer, kind, size, one?.stream.isPeerReset === false ? one.stream : undefined)
        if (one === undefined) continue
        const { stream, request } = one
        if (kind === 'data' && isOpen(stream)) {
          const padding = pick % 4 === 0 ? 1 + (pick % 100) : 0
          const length = Math.min(size % 20_000, peer.room(stream) - padding)
          if (length < 0) continue
          const bytes = pattern(size, length)
          one.sent.push(bytes)
          peer.sendData(stream, bytes, pick % 5 === 0, padding)
        } else if (kind === 'trailers' && isOpen(stream)) {
          peer.sendHeaders(stream.id, END_OK, true)
        } else if (kind === 'reset' && !stream.isPeerReset && stream.engineReset === undefined) {
          peer.sendReset(stream, CODE.CANCEL)
        } else if (kind === 'start' && !one.isStarted) {
          one.isStarted = true
          request.stream.start(request)
        } else if (kind === 'pause') request.stream.pause()
        else if (kind === 'resume' && one.isStarted) request.stream.resume()
        else if (kind === 'abandon' && !stream.hasEngineEnded) {
          one.isAbandoned = true
          request.stream.abandon()
        } else if (kind === 'answer at data' && one.answer === undefined) {
          request.onChunk = () => {
            if (one.answer !== undefined) return
            one.answer = pattern(pick, size % 2000)
            request.stream.answer(200, {}, one.answer)
          }
        } else if (kind === 'answer' && one.answer === undefined) {
          one.answer = pattern(pick, pick % 3 === 0 ? 0 : size)
          one.hasTrailers = pick % 2 === 0
          request.stream.answer(
            200,
            {},
            one.answer,
            one.hasTrailers ? { 'grpc-status': '0' } : undefined,
          )
        }
      }
      await finish(test, cases)
    }

    const anyServerStep = anyStep(
      'open',
      'open',
      'data',
      'data',
      'data',
      'trailers',
      'reset',
      'start',
      'pause',
      'resume',
      'abandon',
      'answer',
      'answer',
      'answer at data',
      'stick',
      'unstick',
      'turn',
      'initial window',
      'frame size',
      'table size',
      'ping',
      'grant',
      'grant stream',
    )
    await fc.assert(fc.asyncProperty(fc.array(anyServerStep, { maxLength: 60 }), run), {
      numRuns: Number(process.env.FLOW_RUNS ?? 150),
    })
  })

  it('of the client holds under any order of events', async () => {
    interface Case {
      readonly id: number
      readonly reader: Asked
      readonly stream: ReturnType<ClientUnderTest['connection']['request']>
      written: Buffer[]
      hasEnded: boolean
      isReset: boolean
      sent: Buffer[]
      hasHeaders: boolean
      hasTrailers: boolean
    }

    const finish = async (test: ClientUnderTest, cases: readonly Case[]): Promise<void> => {
      const { peer, socket, connection } = test
      socket.unstick()
      for (const { stream, hasEnded } of cases) if (!hasEnded) stream.end()
      peer.read()
      await drain(peer, () => peer.read())
      for (const each of cases) {
        const stream = peer.streams.get(each.id)
        assert.ok(stream !== undefined)
        if (!isOpen(stream)) continue
        peer.sendHeaders(each.id, each.hasHeaders ? END_OK : OK, true)
        each.hasTrailers = each.hasHeaders
      }
      assert.equal(connection.isClosed, false)
      assert.equal(connection.streams.size, 0)
      assert.equal(connection.blockedStreams, 0)
      for (const { id, reader, written, isReset, sent, hasTrailers } of cases) {
        const stream = peer.streams.get(id)
        assert.ok(stream !== undefined)
        const all = Buffer.concat(written)
        const got = bodyOf(stream)
        assert.ok(all.subarray(0, got.length).equals(got), 'a request came changed')
        if (stream.hasEngineEnded) assert.equal(got.length, all.length, 'half a body was ended')
        const answer = Buffer.concat(sent)
        const { received } = reader
        assert.ok(answer.subarray(0, received.length).equals(received), 'an answer came changed')
        if (isReset) {
          assert.deepEqual(reader.closes, [])
          assert.equal(stream.engineReset, CODE.CANCEL)
          continue
        }
        assert.equal(reader.closes.length, 1)
        if (stream.isPeerReset) continue
        assert.deepEqual(reader.closes, [{ code: CODE.NO_ERROR, isUnseen: false }])
        assert.equal(received.length, answer.length, 'an answer was cut off')
        assert.equal(reader.trailers !== undefined, hasTrailers)
        // Either all of the request went out, or its rest was called off.
        assert.notEqual(stream.hasEngineEnded, stream.engineReset === CODE.CANCEL)
      }
      assert.equal(connection.sendWindow, peer.allowance, 'the two ends count differently')
      const reader = new Asked()
      const { id } = connection.request([fieldBlock(FIELDS)], reader)
      peer.read()
      const stream = peer.sendHeaders(id, OK, false)
      expectFullWindow(peer, () => peer.sendData(stream, Buffer.alloc(700), false))
    }

    const run = async (
      steps: readonly { kind: string; pick: number; size: number }[],
    ): Promise<void> => {
      const test = ask()
      const { peer, socket, connection } = test
      const cases: Case[] = []
      for (const { kind, pick, size } of steps) {
        const one = cases[pick % Math.max(1, cases.length)]
        const stream = one === undefined ? undefined : peer.streams.get(one.id)
        if (kind === 'open') {
          const reader = new Asked()
          const opened = connection.request([fieldBlock(FIELDS)], reader)
          peer.read()
          cases.push({
            id: opened.id,
            reader,
            stream: opened,
            written: [],
            hasEnded: false,
            isReset: false,
            sent: [],
            hasHeaders: false,
            hasTrailers: false,
          })
        } else if (kind === 'stick') socket.isStuck = true
        else if (kind === 'unstick') socket.unstick()
        else if (kind === 'turn') await nextTurn()
        else steer(peer, kind, size, stream?.isPeerReset === false ? stream : undefined)
        if (one === undefined || stream === undefined) continue
        if (kind === 'write' && !one.hasEnded) {
          const bytes = pattern(pick, pick % 3 === 0 ? size % 100 : size)
          const wasOpen = one.reader.closes.length === 0
          one.written.push(bytes)
          const goesOn = one.stream.write(bytes)
          if (!wasOpen) assert.ok(goesOn)
        } else if (kind === 'end' && !one.hasEnded) {
          one.hasEnded = true
          const last = [pattern(pick, size % 3000), pattern(pick + 1, pick % 50)]
          one.written.push(...last)
          one.stream.end(...last)
        } else if (kind === 'call off' && one.reader.closes.length === 0) {
          one.isReset = true
          one.hasEnded = true
          one.stream.reset(CODE.CANCEL)
        } else if (kind === 'call off at data' && one.reader.closes.length === 0) {
          one.reader.onChunk = () => {
            if (one.isReset) return
            one.isReset = true
            one.hasEnded = true
            one.stream.reset(CODE.CANCEL)
          }
        } else if (kind === 'headers' && isOpen(stream) && !one.hasHeaders) {
          if (pick % 4 === 0) peer.sendHeaders(one.id, [[':status', '103']], false)
          one.hasHeaders = true
          peer.sendHeaders(one.id, OK, pick % 7 === 0)
        } else if (kind === 'data' && isOpen(stream) && one.hasHeaders) {
          const padding = pick % 4 === 0 ? 1 + (pick % 100) : 0
          const length = Math.min(size % 20_000, peer.room(stream) - padding)
          if (length < 0) continue
          const bytes = pattern(size, length)
          one.sent.push(bytes)
          peer.sendData(stream, bytes, pick % 6 === 0, padding)
        } else if (kind === 'trailers' && isOpen(stream) && one.hasHeaders) {
          one.hasTrailers = true
          peer.sendHeaders(one.id, END_OK, true)
        } else if (kind === 'reset' && isOpen(stream)) peer.sendReset(stream, CODE.CANCEL)
      }
      await finish(test, cases)
    }

    const anyClientStep = anyStep(
      'open',
      'open',
      'write',
      'write',
      'end',
      'call off',
      'call off at data',
      'headers',
      'headers',
      'data',
      'data',
      'trailers',
      'reset',
      'stick',
      'unstick',
      'turn',
      'initial window',
      'frame size',
      'table size',
      'ping',
      'grant',
      'grant stream',
    )
    await fc.assert(fc.asyncProperty(fc.array(anyClientStep, { maxLength: 60 }), run), {
      numRuns: Number(process.env.FLOW_RUNS ?? 150),
    })
  })
})
