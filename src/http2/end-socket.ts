import type { Duplex } from 'node:stream'

/** How long a socket may take for its last bytes, and to close after a mistake. */
const FAREWELL_MS = 10_000
const MISUSE_FAREWELL_MS = 1000

/** Ends a socket, what was written to it going out first, and sees to it that it is gone in time. */
export function endSocket(socket: Duplex, isOrderly: boolean): void {
  socket.end()
  // A peer that does not read, or does not close its side, must not keep the socket.
  const hasMore = isOrderly && socket.writableLength > 0
  const waitMs = hasMore ? FAREWELL_MS : MISUSE_FAREWELL_MS
  const timer = setTimeout(() => socket.destroy(), waitMs).unref()
  socket.once('close', () => clearTimeout(timer))
  // What still comes is dropped; unread, it would turn our end into a reset that takes the last words back.
  socket.resume()
}
