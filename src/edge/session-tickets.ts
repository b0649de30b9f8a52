/** The key that session tickets are sealed with, and how long it lives. */
import { randomBytes } from 'node:crypto'
import type { Server } from 'node:tls'

/** A name, a key for HMAC-SHA256 and one for AES-128: what `setTicketKeys` takes. */
const KEY_BYTES = 48
const ROTATION_MS = 8 * 60 * 60_000

/**
 * Gives a server another ticket key every eight hours, so that whoever learns a key reads the sessions
 * of one shift and no more (RFC 5077 section 5.5); Node would keep its first one for as long as it
 * lives. Node takes one key at a time: tickets under the one before are not accepted, and cost their
 * clients one full handshake each. Returns what ends the rotation.
 */
export function rotateTicketKeys(server: Server): () => void {
  const timer = setInterval(() => server.setTicketKeys(randomBytes(KEY_BYTES)), ROTATION_MS)
  timer.unref()
  return () => clearInterval(timer)
}
