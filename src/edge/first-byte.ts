/** Waits for a client to say something. */
import type { Socket } from 'node:net'

/**
 * Calls `onByte` when the first bytes can be read from the socket, which are left there; `onSilence` where
 * none have come within the time; what comes later is the caller's. Neither, once the connection has
 * ended.
 */
export function awaitFirstByte(
  socket: Socket,
  timeoutMs: number,
  onByte: () => void,
  onSilence: () => void,
): void {
  const timer = setTimeout(() => {
    socket.off('readable', onReadable)
    onSilence()
  }, timeoutMs)
  const stop = () => clearTimeout(timer)
  const onReadable = () => {
    if (socket.readableLength === 0) {
      // The end has to be read, too.
      socket.read()
      return
    }
    stop()
    socket.off('readable', onReadable)
    socket.off('close', stop)
    onByte()
  }
  socket.on('readable', onReadable)
  socket.on('close', stop)
}
