/** The key that session tickets are sealed with, and how long it lives. */
import { randomBytes } from 'node:crypto'
import type { Server } from 'node:tls'

/** A name, a key for HMAC-SHA256 and one for AES-128: what `setTicketKeys` takes. */
const KEY_BYTES = 48
const ROTATION_MS = 8 * 60 * 60_000

/**
 * The ticket key of a server. It is replaced every eight hours, so that whoever learns a key reads the
 * sessions of one shift and no more (RFC 5077 section 5.5); Node would keep its first one for as long
 * as it lives. Node takes one key at a time: tickets under the one before are not accepted, and cost
 * their clients one full handshake each.
 */
export class TicketKey {
  readonly #server: Server
  readonly #rotation: NodeJS.Timeout
  #given: Buffer | undefined

  constructor(server: Server) {
    this.#server = server
    this.#rotation = setInterval(() => server.setTicketKeys(randomBytes(KEY_BYTES)), ROTATION_MS)
    this.#rotation.unref()
  }

  /** Uses the key of somebody who shares it with other processes, and replaces it in time. */
  take(key: Buffer): void {
    this.stop()
    this.#given = key
    this.#server.setTicketKeys(key)
  }

  /** The server has another context, for which Node has made a key of its own. */
  renew(): void {
    if (this.#given !== undefined) this.#server.setTicketKeys(this.#given)
  }

  /** Ends the rotation. */
  stop(): void {
    clearInterval(this.#rotation)
  }
}
