/** What a gateway answers to `GET /tokens`, as far as a rotation needs it. */

export interface SourceState {
  readonly place: string
  readonly isGood: boolean
  readonly problem: string | undefined
}

/** How a token was used last. Texts come from clients: only to be shown, and shortened. */
export interface LastUse {
  readonly address: string
  readonly signal: string
  readonly protocol: string
  /** Name and version of the SDK, else what the client calls itself; undefined where it says nothing. */
  readonly program: string | undefined
}

/** A token, as one gateway knows it. Times are Unix milliseconds by that gateway's clock. */
export interface ReportedToken {
  readonly id: string
  readonly holder: string
  /** The first eight hexadecimal digits of its digest. */
  readonly fingerprint: string
  /** Whether a request with it is accepted now. */
  readonly isAccepted: boolean
  readonly firstUsedMs: number | undefined
  readonly lastUsedMs: number | undefined
  readonly requests: number
  readonly lastUse: LastUse | undefined
  /** Requests with it that were refused, and the last of them; undefined where there was none. */
  readonly refused: Refused | undefined
}

export interface Refused {
  readonly count: number
  readonly lastMs: number
  readonly address: string
  readonly program: string | undefined
}

export interface TokenReport {
  readonly sources: readonly SourceState[]
  readonly tokens: ReadonlyMap<string, ReportedToken>
  /** The gateway's wall clock when it answered, Unix milliseconds; undefined where it did not say. */
  readonly clockMs: number | undefined
}

const MAX_SHOWN = 80
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/gu

/** Reads the answer; undefined where it is not one of a gateway. */
export function reportFrom(json: unknown, clockMs: number | undefined): TokenReport | undefined {
  if (!isObject(json) || !Array.isArray(json.tokens)) return undefined
  const tokens = new Map<string, ReportedToken>()
  for (const raw of json.tokens) {
    const token = isObject(raw) ? tokenFrom(raw) : undefined
    if (token === undefined) return undefined
    tokens.set(token.id, token)
  }
  const sources = Array.isArray(json.sources) ? json.sources.filter(isObject).map(sourceFrom) : []
  return { sources, tokens, clockMs }
}

function tokenFrom(raw: Record<string, unknown>): ReportedToken | undefined {
  const { id, holder, fingerprint, isAccepted, requests } = raw
  if (typeof id !== 'string' || typeof holder !== 'string') return undefined
  if (typeof fingerprint !== 'string' || typeof isAccepted !== 'boolean') return undefined
  return {
    id,
    holder,
    fingerprint,
    isAccepted,
    firstUsedMs: momentFrom(raw.firstUsedAt),
    lastUsedMs: momentFrom(raw.lastUsedAt),
    requests: typeof requests === 'number' && requests >= 0 ? requests : 0,
    lastUse: isObject(raw.lastUse) ? lastUseFrom(raw.lastUse) : undefined,
    refused: refusedFrom(raw),
  }
}

function refusedFrom({ refusals, lastRefusedAt, lastRefusal }: Record<string, unknown>) {
  const lastMs = momentFrom(lastRefusedAt)
  if (lastMs === undefined || !isObject(lastRefusal)) return undefined
  const counts = Object.values(isObject(refusals) ? refusals : {})
  const count = counts.reduce<number>((sum, each) => sum + (typeof each === 'number' ? each : 0), 0)
  const { address, program } = lastUseFrom(lastRefusal)
  return { count, lastMs, address, program }
}

function sourceFrom(raw: Record<string, unknown>): SourceState {
  const problem = shown(raw.problem)
  return { place: shown(raw.place) ?? 'a source', isGood: raw.isGood === true, problem }
}

function lastUseFrom(raw: Record<string, unknown>): LastUse {
  const { sdk } = raw
  const name = isObject(sdk) ? shown(sdk.name) : undefined
  const version = isObject(sdk) ? shown(sdk.version) : undefined
  const program = name === undefined ? shown(raw.userAgent) : [name, version].join(' ').trim()
  return {
    address: shown(raw.address) ?? 'an unknown address',
    signal: shown(raw.signal) ?? '',
    protocol: shown(raw.protocol) ?? '',
    program,
  }
}

/** ISO 8601 or Unix milliseconds. */
function momentFrom(value: unknown): number | undefined {
  const ms = typeof value === 'string' ? Date.parse(value) : value
  return typeof ms === 'number' && Number.isFinite(ms) ? ms : undefined
}

function shown(value: unknown): string | undefined {
  if (typeof value !== 'string' || value === '') return undefined
  return value.replace(UNPRINTABLE, ' ').slice(0, MAX_SHOWN)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
