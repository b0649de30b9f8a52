/** A server that is known by its name, seen from outside alone. */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { type ServerWish, UsageError } from './arguments.ts'
import type { Inside, Target } from './target.ts'

/** What a stack listens on inside, and what people forget to close. */
const SEED_PORTS = [4317, 4318, 8889, 9090, 3000, 9464, 9093, 9100, 9115, 8888, 9466]

/** Finds its addresses. Throws UsageError where the name has none. */
export async function serverTarget(wish: ServerWish): Promise<Target> {
  return targetOf(wish, await addressesOf(wish))
}

/** The same, for a stack of which the inside is known. */
export async function stackTarget(
  wish: ServerWish,
  inside: (addresses: readonly string[]) => Promise<Inside>,
): Promise<Target> {
  const addresses = await addressesOf(wish)
  return { ...targetOf(wish, addresses), mode: 'stack', inside: await inside(addresses) }
}

function targetOf(wish: ServerWish, addresses: readonly string[]): Target {
  const { host, grpcPort, httpPort, ca, token, admin, sources } = wish
  const { ratePerSecond, burst, strikes } = wish
  return {
    ...{ mode: 'server', host, addresses, grpcPort, httpPort, ca, token, admin, sources },
    ...{ ratePerSecond, burst, strikes },
    openPorts: [...new Set([grpcPort, httpPort, ...wish.openPorts])],
    triedPorts: wish.hasAllPorts ? 'all' : SEED_PORTS,
    isRedirected: wish.connect.length > 0,
    inside: undefined,
  }
}

/** One address of each family is enough. */
async function addressesOf({ host, connect }: ServerWish): Promise<readonly string[]> {
  for (const address of connect)
    if (isIP(address) === 0)
      throw new UsageError(`--connect ${JSON.stringify(address)}: expected an IPv4 or IPv6 address`)
  if (connect.length > 0) return connect
  const found = await lookup(host, { all: true }).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`--host ${host}: has no address (${error.code ?? error.message})`)
  })
  return [4, 6].flatMap((family) => found.find((each) => each.family === family)?.address ?? [])
}
