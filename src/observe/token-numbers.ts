/** The numbers of tokens and of those who hold them. */
import type { Registry } from 'prom-client'
import { counter, type Family, gauge, type Row } from './families.ts'

/** Tokens shown one by one, and holders; the rest is summed under `other`. */
export const MAX_TOKENS_SHOWN = 1000
const OTHER = 'other'

/** What became of a token. Numbers count from the start of the gateway; times are Unix milliseconds. */
export interface TokenUsage {
  readonly id: string
  readonly holder: string
  /** One of a closed set. */
  readonly state: string
  /** Undefined where it has no end. */
  readonly expiresAtMs: number | undefined
  /** Undefined where it has not been used; kept over restarts. */
  readonly firstUsedMs: number | undefined
  readonly lastUsedMs: number | undefined
  /** Requests admitted, and the bytes of their messages. */
  readonly requests: number
  readonly bytes: number
  /** Of these requests: admitted by grace, and while a newer token had been delivered. */
  readonly graceUses: number
  readonly retiringUses: number
  readonly refusals: ReadonlyMap<string, number>
}

interface Shown {
  readonly tokens: readonly TokenUsage[]
  readonly holders: readonly HolderUsage[]
}

interface HolderUsage {
  readonly holder: string
  lastUsedMs: number | undefined
  refusals: number
}

type TokenLabels = 'token' | 'holder'
const TOKEN_LABELS = ['token', 'holder'] as const

/** Declares the families of tokens and holders. In one scrape all are made from one reading. */
export function declareTokens(registry: Registry, usage: () => Iterable<TokenUsage>): void {
  let reading: Shown | undefined
  const shown = (): Shown => {
    if (reading === undefined) {
      reading = bounded(usage())
      // A scrape reads every family in one turn.
      queueMicrotask(() => {
        reading = undefined
      })
    }
    return reading
  }
  const rowsOf = (value: (token: TokenUsage) => number | undefined) => (): Row<TokenLabels>[] =>
    shown().tokens.flatMap((token) => {
      const number = value(token)
      return number === undefined ? [] : [[labelsOf(token), number]]
    })

  counter(
    registry,
    FAMILIES.requests,
    rowsOf(({ requests }) => requests),
  )
  counter(
    registry,
    FAMILIES.bytes,
    rowsOf(({ bytes }) => bytes),
  )
  counter(
    registry,
    FAMILIES.retiring,
    rowsOf(({ retiringUses }) => retiringUses),
  )
  counter(
    registry,
    FAMILIES.grace,
    rowsOf(({ graceUses }) => graceUses),
  )
  gauge(
    registry,
    FAMILIES.firstUsed,
    rowsOf(({ firstUsedMs }) => seconds(firstUsedMs)),
  )
  gauge(
    registry,
    FAMILIES.lastUsed,
    rowsOf(({ lastUsedMs }) => seconds(lastUsedMs)),
  )
  gauge(
    registry,
    FAMILIES.expires,
    rowsOf(({ expiresAtMs }) => seconds(expiresAtMs)),
  )
  gauge(registry, FAMILIES.state, () =>
    shown()
      .tokens.filter(({ id }) => id !== OTHER)
      .map((token) => [{ ...labelsOf(token), state: token.state }, 1]),
  )
  counter(registry, FAMILIES.refusals, () =>
    shown().tokens.flatMap((token) =>
      [...token.refusals].map(
        ([reason, count]): Row<TokenLabels | 'reason'> => [{ ...labelsOf(token), reason }, count],
      ),
    ),
  )
  gauge(registry, FAMILIES.holderLastUsed, () =>
    shown().holders.flatMap(({ holder, lastUsedMs }): Row<'holder'>[] =>
      lastUsedMs === undefined ? [] : [[{ holder }, lastUsedMs / 1000]],
    ),
  )
  counter(registry, FAMILIES.holderRefusals, () =>
    shown().holders.map(({ holder, refusals }) => [{ holder }, refusals]),
  )
}

const FAMILIES = {
  requests: tokenFamily('tollgate_token_requests_total', 'Requests admitted with a token.'),
  bytes: tokenFamily('tollgate_token_bytes_total', 'Bytes of messages admitted with a token.'),
  retiring: tokenFamily(
    'tollgate_token_retiring_requests_total',
    'Requests admitted with a token after its holder was given a newer one.',
  ),
  grace: tokenFamily(
    'tollgate_token_grace_requests_total',
    'Requests admitted with a token after its end, by grace.',
  ),
  firstUsed: tokenFamily(
    'tollgate_token_first_used_timestamp_seconds',
    'When a token first admitted a request; absent until it has.',
  ),
  lastUsed: tokenFamily(
    'tollgate_token_last_used_timestamp_seconds',
    'When a token last admitted a request; absent until it has.',
  ),
  expires: tokenFamily(
    'tollgate_token_expires_timestamp_seconds',
    'When a token ends or ended; absent where it has no end.',
  ),
  state: {
    name: 'tollgate_token_state',
    help: 'Always 1; the label says in which state the token is.',
    labels: [...TOKEN_LABELS, 'state'],
  },
  refusals: {
    name: 'tollgate_token_refusals_total',
    help: 'Refused requests that carried a token of the set, by reason; absent until there is one.',
    labels: [...TOKEN_LABELS, 'reason'],
  },
  holderLastUsed: {
    name: 'tollgate_holder_last_used_timestamp_seconds',
    help: 'When any token of a holder last admitted a request; absent until one has.',
    labels: ['holder'],
  },
  holderRefusals: {
    name: 'tollgate_holder_refusals_total',
    help: 'Refused requests that carried a token of this holder.',
    labels: ['holder'],
  },
} as const satisfies Record<string, Family<TokenLabels | 'state' | 'reason'>>

function tokenFamily(name: string, help: string) {
  return { name, help, labels: TOKEN_LABELS }
}

/** At most `MAX_TOKENS_SHOWN` tokens and holders; what goes beyond is one more, called `other`. */
function bounded(usage: Iterable<TokenUsage>): Shown {
  const tokens: TokenUsage[] = []
  const holders = new Map<string, HolderUsage>()
  const rest = noUsage()
  let count = 0
  for (const token of usage) {
    addTo(holders, token)
    count += 1
    if (count <= MAX_TOKENS_SHOWN) tokens.push(token)
    else add(rest, token)
  }
  if (count > MAX_TOKENS_SHOWN) tokens.push(rest)
  return { tokens, holders: [...holders.values()] }
}

type Sum = { -readonly [Name in keyof TokenUsage]: TokenUsage[Name] } & {
  readonly refusals: Map<string, number>
}

function noUsage(): Sum {
  return {
    id: OTHER,
    holder: OTHER,
    state: OTHER,
    expiresAtMs: undefined,
    firstUsedMs: undefined,
    lastUsedMs: undefined,
    requests: 0,
    bytes: 0,
    graceUses: 0,
    retiringUses: 0,
    refusals: new Map(),
  }
}

function add(sum: Sum, token: TokenUsage): void {
  sum.firstUsedMs = earliest(sum.firstUsedMs, token.firstUsedMs)
  sum.lastUsedMs = latest(sum.lastUsedMs, token.lastUsedMs)
  sum.requests += token.requests
  sum.bytes += token.bytes
  sum.graceUses += token.graceUses
  sum.retiringUses += token.retiringUses
  for (const [reason, count] of token.refusals)
    sum.refusals.set(reason, (sum.refusals.get(reason) ?? 0) + count)
}

function addTo(holders: Map<string, HolderUsage>, token: TokenUsage): void {
  const isKnown = holders.has(token.holder)
  const holder = isKnown || holders.size < MAX_TOKENS_SHOWN ? token.holder : OTHER
  let sum = holders.get(holder)
  if (sum === undefined) {
    sum = { holder, lastUsedMs: undefined, refusals: 0 }
    holders.set(holder, sum)
  }
  sum.lastUsedMs = latest(sum.lastUsedMs, token.lastUsedMs)
  for (const count of token.refusals.values()) sum.refusals += count
}

function labelsOf({ id, holder }: TokenUsage): Record<TokenLabels, string> {
  return { token: id, holder }
}

function earliest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b)
}

function latest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.max(a, b)
}

function seconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000
}
