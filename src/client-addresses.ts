/**
 * Watches whether the gateway sees its clients' own addresses. Part of the composition root: joins the
 * ledger and the connections with the log, the metrics page and the commands.
 */
import type { Config } from './config/config.ts'
import { createTrustedProxies } from './edge/client-address.ts'
import { ownRouters } from './edge/own-routers.ts'
import {
  type HiddenClients as Hidden,
  HiddenClientsNotices,
  hiddenInWords,
} from './observe/hidden-clients.ts'
import type { Log } from './observe/log.ts'
import type { Peer } from './pipeline/arrival.ts'
import type { Clock } from './pipeline/ports.ts'
import { HiddenClients } from './stores/hidden-clients.ts'
import type { TokenStore } from './stores/tokens.ts'

const TICK_MS = 60_000

export interface ClientAddresses {
  /** A connection was accepted. */
  connected(peer: Peer): void
  /** A connection was refused, in a word. */
  refused(reason: string): void
  /** That addresses are hidden; undefined as long as nothing speaks for it. */
  readonly hidden: Hidden | undefined
  /** For the commands: what is hidden, with words, or null. */
  report(): object
  close(): void
}

/** Looks once a minute, and whenever it is asked. */
export async function watchClientAddresses(
  { clientAddress, trustedProxies }: Pick<Config, 'clientAddress' | 'trustedProxies'>,
  tokens: Pick<TokenStore, 'statuses'>,
  { log, clock }: { readonly log: Log; readonly clock: Clock },
): Promise<ClientAddresses> {
  const notices = new HiddenClientsNotices(log)
  const clients = new HiddenClients({
    source: clientAddress,
    isTrusted: createTrustedProxies(trustedProxies),
    gateways: await ownRouters(),
    startedMs: clock.nowMs(),
  })
  const look = () => {
    const hidden = clients.look(tokens.statuses(clock.wallMs()), clock.nowMs())
    if (hidden !== undefined) notices.hidden(hidden)
    return hidden
  }
  const ticker = setInterval(look, TICK_MS).unref()
  return {
    connected(peer) {
      if (clients.connected(peer)) notices.firstFromRouter(peer.address)
    },
    refused(reason) {
      if (reason === 'proxy_header') clients.headerMissed()
    },
    get hidden() {
      return look()
    },
    report() {
      const hidden = look()
      return { hidden: hidden === undefined ? null : { ...hidden, words: hiddenInWords(hidden) } }
    },
    close: () => clearInterval(ticker),
  }
}
