/**
 * Look-ups of tokens: how many a second one core does, with everything that a request costs the token
 * store (verify, book its use, book its end), and what the tokens take of memory.
 *
 *     node --expose-gc tokens.ts [tokens]
 */
import type { Arrival } from '../src/pipeline/arrival.ts'
import type { Ending } from '../src/pipeline/ports.ts'
import { digestOf } from '../src/stores/token-secret.ts'
import { TokenStore } from '../src/stores/tokens.ts'

const TOKENS = Number(process.argv[2] ?? 10_000)
const ROUND = 200_000
const ROUNDS = 7
const WALL_MS = Date.now()
const NO_LIMITS = { requests: undefined, bytes: undefined, inFlight: undefined }

const secretOf = (index: number) => `tg_bench_${String(index).padStart(49, '0')}`
const before = heapBytes()
const store = new TokenStore({ defaultLimits: NO_LIMITS, graceMs: 86_400_000 })
store.swap({
  records: Array.from({ length: TOKENS }, (_, index) => ({
    id: `t${index}`,
    holder: `holder ${index}`,
    sha256: digestOf(secretOf(index)),
    expiresAtMs: WALL_MS + 86_400_000,
  })),
})

/** Requests as their engine makes them: the strings are those of their own headers. */
const arrivals = Array.from({ length: TOKENS }, (_, index): Arrival => {
  const address = `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`
  return {
    protocol: 'grpc',
    signal: 'traces',
    peer: { key: address, address },
    authorization: `Bearer ${secretOf(index)}`,
    userAgent: `OTel-OTLP-Exporter-Python/1.45.${index}`,
    deadlineMs: Number.POSITIVE_INFINITY,
    flaw: undefined,
  }
})

const admitted = (arrival: Arrival): void => {
  const token = store.verify(arrival.authorization, arrival.peer, WALL_MS)
  if (typeof token === 'string') throw new Error(token)
  store.used(token, arrival, WALL_MS)
  store.ended(arrival, endingOf(token), WALL_MS)
}
/** The header is a new text each time, so it has to be hashed. */
let strangers = 0
const refused = (arrival: Arrival): void => {
  strangers += 1
  const authorization = `Bearer ${secretOf(TOKENS + strangers)}`
  const found = store.verify(authorization, arrival.peer, WALL_MS)
  if (found !== 'token_unknown') throw new Error('BUG: a stranger was let in')
}

measure('admitted, one busy agent', arrivals.slice(0, 1), admitted)
measure(`admitted, ${TOKENS} agents in turn`, arrivals, admitted)
measure('unknown tokens', arrivals, refused)
console.log(
  `${TOKENS} tokens, all in use: ${((heapBytes() - before) / 2 ** 20).toFixed(1)} MiB with a request for each`,
)

function endingOf(token: Ending['token']): Ending {
  return {
    outcome: 'accepted',
    token,
    refusal: undefined,
    durationMs: 1,
    bytesIn: 227,
    bytesOut: 5,
    cause: undefined,
  }
}

/** The best of some rounds: what disturbs one only makes it slower. */
function measure(what: string, list: readonly Arrival[], lookUp: (arrival: Arrival) => void) {
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < ROUNDS; round += 1) {
    const startMs = performance.now()
    for (let at = 0; at < ROUND; at += 1) lookUp(list[at % list.length] as Arrival)
    best = Math.min(best, performance.now() - startMs)
  }
  const perSecond = Math.round((ROUND / best) * 1000)
  const nanoseconds = Math.round((best / ROUND) * 1e6)
  console.log(`${what}: ${perSecond.toLocaleString('en')} a second, ${nanoseconds} ns each`)
}

function heapBytes(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}
