/**
 * The key that TLS session tickets are sealed with, for every gateway that this parent starts: clients
 * that come back after a restart or a crash, all at the same moment, then resume their sessions. It
 * lives in memory and on the channel to the gateways, and nowhere else.
 */
import { randomBytes } from 'node:crypto'
import type { GatewayProcess } from './gateway-process.ts'

/** A name, a key for HMAC-SHA256 and one for AES-128: what `tls.Server.setTicketKeys` takes. */
const KEY_BYTES = 48
/**
 * Whoever learns a key reads the TLS 1.2 sessions of one shift and no more (RFC 5077 section 5.5). A
 * gateway without a parent replaces its key as often.
 */
const ROTATION_MS = 8 * 60 * 60_000

type Sealer = Pick<GatewayProcess, 'order'>

export class TicketKeys {
  readonly #gateways = new Set<Sealer>()
  #key = newKey()

  constructor() {
    setInterval(() => this.rotate(), ROTATION_MS).unref()
  }

  /** Gives a gateway the key, and every later one until it leaves. */
  join(gateway: Sealer): void {
    this.#gateways.add(gateway)
    gateway.order({ kind: 'ticket-key', key: this.#key })
  }

  /** The gateway has ended. */
  leave(gateway: Sealer): void {
    this.#gateways.delete(gateway)
  }

  /** Replaces the key at once. Tickets under the one before are good no more. */
  rotate(): void {
    this.#key = newKey()
    for (const gateway of this.#gateways) gateway.order({ kind: 'ticket-key', key: this.#key })
  }
}

function newKey(): string {
  return randomBytes(KEY_BYTES).toString('base64')
}
