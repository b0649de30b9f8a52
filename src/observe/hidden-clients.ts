/** What is told where the addresses of clients are hidden: by a line, a gauge, and `tollgate check`. */
import type { Registry } from 'prom-client'
import { gauge } from './families.ts'
import type { Log } from './log.ts'

/** How addresses are hidden: `by` of the gauge. */
const HIDDEN_BY = ['gateway', 'one_address', 'no_header', 'untrusted_proxy'] as const
type HiddenBy = (typeof HIDDEN_BY)[number]

/** That addresses are hidden, and how it shows. */
export interface HiddenClients {
  readonly by: HiddenBy
  /** Where clients seem to be; undefined where no token has got through at all. */
  readonly address: string | undefined
  readonly clients: number
}

const REMEDIES =
  'Publish the ports in host mode and give the container network IPv6, or put a proxy in front that tells the address and set TOLLGATE_CLIENT_ADDRESS and TOLLGATE_TRUSTED_PROXIES'

/** A sentence or three for the operator: what was seen, what it means, what to do. */
export function hiddenInWords({ by, address, clients }: HiddenClients): string {
  const several = `${clients} different clients`
  switch (by) {
    case 'gateway':
      return `${capital(several)} seem to be at ${address}, which is the router of this machine's own network: Docker puts it in the place of the real address. Unless they all run on this machine, limits per address and bans mean all of them or none. ${REMEDIES}`
    case 'one_address':
      return `Every client seems to be at ${address}, a private address, and nobody else was seen: ${several} so far. Unless they all run there, their real addresses are hidden, and limits per address and bans mean all of them or none. ${REMEDIES}`
    case 'no_header':
      return address === undefined
        ? 'No connection of the proxy begins with a PROXY header, so all are closed. Turn the PROXY protocol on in the proxy, or set TOLLGATE_CLIENT_ADDRESS=socket'
        : `Every client seems to be at ${address}, the proxy itself: it sends no address of a client, which TOLLGATE_CLIENT_ADDRESS waits for. Limits per address and bans mean everybody or nobody. Have the proxy send it, or set TOLLGATE_CLIENT_ADDRESS=socket where there is no proxy`
    case 'untrusted_proxy':
      return `Every client seems to be at ${address}, which is not in TOLLGATE_TRUSTED_PROXIES, so no X-Forwarded-For from there is believed. Add it if it is your proxy; set TOLLGATE_CLIENT_ADDRESS=socket if there is none`
  }
}

export class HiddenClientsNotices {
  readonly #log: Log
  readonly #told = new Set<HiddenBy>()

  constructor(log: Log) {
    this.#log = log
  }

  /** The first connection came from the router of this machine's network. */
  firstFromRouter(address: string): void {
    this.#log.info(
      'client_addresses_hidden',
      `The first connection came from ${address}, the router of this machine's own network. A program on this machine looks like that, and so does everybody where Docker hides addresses; more will show which`,
      { peer: address },
    )
  }

  /** Addresses are hidden. Said once for each way in which they are. */
  hidden(hidden: HiddenClients): void {
    const { by, address, clients } = hidden
    if (this.#told.has(by)) return
    this.#told.add(by)
    this.#log.warn('client_addresses_hidden', hiddenInWords(hidden), {
      by,
      clients,
      ...(address === undefined ? {} : { peer: address }),
    })
  }
}

/** Declares the gauge. All series are there from the start. */
export function declareHiddenClients(
  registry: Registry,
  hidden: () => HiddenClients | undefined,
): void {
  gauge(
    registry,
    {
      name: 'tollgate_client_addresses_hidden',
      help: 'Whether the addresses of clients seem to be hidden, so that limits per address and bans mean everybody or nobody.',
      labels: ['by'],
    },
    () => {
      const now = hidden()?.by
      return HIDDEN_BY.map((by) => [{ by }, Number(by === now)])
    },
  )
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
