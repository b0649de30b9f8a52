/** Long pages: sent piece by piece, and requests have their turn between two pieces. */
import { Readable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'

/** A stream of the pieces. Each is made when the one before it has been taken. */
export function paced(pieces: Iterable<string>): Readable {
  return Readable.from(oneATurn(pieces), { objectMode: false })
}

async function* oneATurn(pieces: Iterable<string>): AsyncGenerator<string> {
  for (const piece of pieces) {
    yield piece
    await nextTurn()
  }
}
