/**
 * Tells from what the ledger and the connections show anyway whether the addresses of clients are
 * hidden: by a network that puts one address in the place of all of them (Docker's ingress network and
 * its proxy for IPv6), or by a proxy whose word never comes or is not believed. Limits and bans then
 * mean everybody, or nobody.
 *
 * One client, or a few on one machine, look the same from here. So nothing is claimed before several
 * clients were admitted from one private address and nobody was seen at a public one.
 */
import type { Peer } from '../pipeline/arrival.ts'
import { createExempt } from './exempt.ts'
import { sdkOf } from './sdk.ts'
import type { TokenStatus } from './tokens.ts'

/** That addresses are hidden, and how it shows. */
export interface Hidden {
  readonly by: 'gateway' | 'one_address' | 'no_header' | 'untrusted_proxy'
  /** Where clients seem to be; undefined where no token has got through at all. */
  readonly address: string | undefined
  /** How many different clients (a holder with an SDK) were seen there; the count ends at eight. */
  readonly clients: number
}

export interface HiddenClientsOptions {
  readonly source: 'socket' | 'proxy-protocol' | 'x-forwarded-for'
  /** Whether an address belongs to a proxy that is believed. */
  isTrusted(address: string): boolean
  /** Addresses of the routers of this machine's own networks. */
  readonly gateways: ReadonlySet<string>
  /** Monotonic time of the start. */
  readonly startedMs: number
}

/** As many clients at the address of a router cannot be chance. */
const CLIENTS_AT_GATEWAY = 2
/** At another private address they may be programs of one machine. */
const CLIENTS_AT_ADDRESS = 3
/** On the internet somebody knocks from a public address sooner than this, if he can be seen. */
const PATIENCE_MS = 10 * 60_000
/** Connections that a proxy makes without its header while it starts, and in good faith. */
const HEADERS_MISSED = 3
/** What is remembered at most. */
const MAX_ADDRESSES = 8
const MAX_CLIENTS = 8

const isLoopback = createExempt(['loopback'])
const isPrivate = createExempt(['private'])

export class HiddenClients {
  readonly #options: HiddenClientsOptions
  /** Clients that were admitted, by their private address. */
  readonly #private = new Map<string, Set<string>>()
  /** Clients that were admitted from the address of a trusted proxy. */
  readonly #behindProxy = new Set<string>()
  #proxyAddress: string | undefined
  /** The peer of the last connection: who hides clients is nearly all of them. */
  #lastKey: string | undefined
  #isPublicSeen = false
  #isProxySeen = false
  #isAnybodySeen = false
  #headersMissed = 0

  constructor(options: HiddenClientsOptions) {
    this.#options = options
  }

  /**
   * A connection was accepted. True for the first one, where that came from the router of this
   * machine's network: that deserves a hint at once.
   */
  connected(peer: Peer): boolean {
    const { source, isTrusted, gateways } = this.#options
    if (source !== 'socket' && isTrusted(peer.address)) this.#isProxySeen = true
    if (this.#isPublicSeen || peer.key === this.#lastKey) return false
    this.#lastKey = peer.key
    if (isLoopback(peer)) return false
    if (!isPrivate(peer)) this.#isPublicSeen = true
    if (this.#isAnybodySeen) return false
    this.#isAnybodySeen = true
    return source === 'socket' && isPrivate(peer) && gateways.has(peer.address)
  }

  /** A connection of a trusted proxy was closed, for it did not begin with a PROXY header. */
  headerMissed(): void {
    this.#headersMissed += 1
  }

  /** Takes note of what tokens were used from since the start, and judges. */
  look(statuses: Iterable<TokenStatus>, nowMs: number): Hidden | undefined {
    for (const { record, account } of statuses) {
      if (account.requests === 0) continue
      const clients = this.#clientsAt(account.address)
      if (clients !== undefined && clients.size < MAX_CLIENTS)
        clients.add(clientOf(record.holder, account))
    }
    const { source } = this.#options
    return source === 'socket' ? this.#withoutProxy(nowMs) : this.#behind(source)
  }

  /** Who was admitted from this address; undefined where that does not matter. */
  #clientsAt(address: string): Set<string> | undefined {
    const { source, isTrusted, gateways } = this.#options
    // The usual case, and there may be many thousands of tokens.
    if (source === 'socket' && this.#isPublicSeen && !gateways.has(address)) return undefined
    const peer = { key: address, address }
    if (source !== 'socket' && isTrusted(address)) {
      this.#proxyAddress ??= address
      return this.#behindProxy
    }
    if (isPrivate(peer)) {
      const known = this.#private.get(address)
      if (known !== undefined) return known
      if (this.#private.size >= MAX_ADDRESSES && !gateways.has(address)) return undefined
      const clients = new Set<string>()
      this.#private.set(address, clients)
      return clients
    }
    if (!isLoopback(peer)) this.#isPublicSeen = true
    return undefined
  }

  #withoutProxy(nowMs: number): Hidden | undefined {
    const { gateways, startedMs } = this.#options
    for (const [address, { size }] of this.#private)
      if (gateways.has(address) && size >= CLIENTS_AT_GATEWAY)
        return { by: 'gateway', address, clients: size }
    const [only, ...others] = this.#private
    if (only === undefined || others.length > 0 || this.#isPublicSeen) return undefined
    const [address, { size }] = only
    if (size < CLIENTS_AT_ADDRESS || nowMs - startedMs < PATIENCE_MS) return undefined
    return { by: 'one_address', address, clients: size }
  }

  #behind(source: 'proxy-protocol' | 'x-forwarded-for'): Hidden | undefined {
    const isNobodyNamed = this.#private.size === 0 && !this.#isPublicSeen
    const clients = this.#behindProxy.size
    if (isNobodyNamed && clients > 0)
      return { by: 'no_header', address: this.#proxyAddress, clients }
    if (isNobodyNamed && this.#headersMissed >= HEADERS_MISSED)
      return { by: 'no_header', address: undefined, clients: 0 }
    if (source === 'proxy-protocol' || this.#isProxySeen || this.#isPublicSeen) return undefined
    const [only, ...others] = this.#private
    if (only === undefined || others.length > 0) return undefined
    return { by: 'untrusted_proxy', address: only[0], clients: only[1].size }
  }
}

/** Two programs may share a token, and one program's updates are one client. */
function clientOf(holder: string, { userAgent }: { readonly userAgent: string | undefined }) {
  const sdk = userAgent === undefined ? undefined : sdkOf(userAgent)
  return `${holder}\n${sdk?.name ?? ''}`
}
