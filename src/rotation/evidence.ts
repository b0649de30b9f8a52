/**
 * What the ledgers of all gateways prove: who accepts the new token, and since when nobody has used
 * the old one. What cannot be asked proves nothing.
 */
import type { Moment, OldToken, Rotation } from './rotation.ts'
import type { LastUse, Refused, ReportedToken } from './token-report.ts'
import type { GatewayAnswer } from './world.ts'

/** The wall clock may gain so much on the machine's own between two runs before it counts as a jump. */
const JUMP_MS = 60_000
const MAX_JUMPS = 50
/** Below this a difference of clocks cannot be told from a slow answer: gateways say their time in seconds. */
const SKEW_MS = 2_000

/** The use of one old token over all gateways. */
export interface OldUse {
  readonly token: OldToken
  /** The latest use, by our clock; undefined where no gateway has ever told of one. */
  readonly lastUsedMs: number | undefined
  /** How long nobody has used it, counted from its retirement at the earliest. */
  readonly quietForMs: number
  /** Requests since it was retired. */
  readonly requestsSince: number
  /** Who used it last, and where. */
  readonly lastUse: (LastUse & { readonly gateway: string }) | undefined
  /** The last requests with it that were refused, and how many; undefined where there was none. */
  readonly refused: Refused | undefined
}

export interface Evidence {
  /** A sentence for each gateway that does not accept the new token, or could not be asked. */
  readonly objections: readonly string[]
  /** Whether each gateway could be asked. */
  readonly isComplete: boolean
  /** When the new token was used first; undefined where it was not seen in use. */
  readonly newUsedMs: number | undefined
  readonly old: readonly OldUse[]
}

/** Weighs what the gateways answered. */
export function weigh(
  rotation: Rotation,
  answers: readonly GatewayAnswer[],
  now: Moment,
): Evidence {
  const firstUses = answers.flatMap(({ report }) => {
    const token = report?.tokens.get(rotation.id)
    const isUsed = token?.fingerprint === rotation.sha256.slice(0, 8) && token.requests > 0
    return isUsed ? [token.firstUsedMs ?? now.wallMs] : []
  })
  if (rotation.newUsedAtMs !== undefined) firstUses.push(rotation.newUsedAtMs)
  return {
    objections: answers.flatMap((answer) => objectionOf(rotation, answer) ?? []),
    isComplete: answers.every(({ report }) => report !== undefined),
    newUsedMs: firstUses.length === 0 ? undefined : Math.min(...firstUses),
    old: rotation.old.map((token) => useOf(token, rotation, answers, now)),
  }
}

/** What a run has to remember of the evidence, because a ledger may be lost. */
export function remembered(rotation: Rotation, { newUsedMs, old }: Evidence): Rotation {
  return {
    ...rotation,
    ...(newUsedMs !== undefined && { newUsedAtMs: newUsedMs }),
    old: old.map(({ token, lastUsedMs }) => ({ ...token, ...(lastUsedMs && { lastUsedMs }) })),
  }
}

/** Notes the time of a run, and a jump of the wall clock since the last one. */
export function timed(rotation: Rotation, now: Moment): Rotation {
  const { lastRun, jumps = [] } = rotation
  const isSameBoot = lastRun?.boot === now.boot && lastRun.uptimeMs <= now.uptimeMs
  if (lastRun === undefined || !isSameBoot) return { ...rotation, lastRun: now }
  const byMs = now.wallMs - lastRun.wallMs - (now.uptimeMs - lastRun.uptimeMs)
  if (byMs < JUMP_MS) return { ...rotation, lastRun: now }
  const noted = [...jumps, { noticedAtMs: now.wallMs, byMs }].slice(-MAX_JUMPS)
  return { ...rotation, lastRun: now, jumps: noted }
}

/** How many requests were made with these tokens so far, for each gateway that answered. */
export function requestsOf(id: string, answers: readonly GatewayAnswer[]): Record<string, number> {
  return Object.fromEntries(
    answers.flatMap(({ gateway, report }) =>
      report === undefined ? [] : [[gateway, report.tokens.get(id)?.requests ?? 0]],
    ),
  )
}

function objectionOf(rotation: Rotation, answer: GatewayAnswer): string | undefined {
  const { gateway, report, problem } = answer
  const name = nameOf(gateway)
  if (report === undefined) return `${name} could not be asked: ${problem ?? 'it did not answer'}`
  const token = report.tokens.get(rotation.id)
  if (token?.fingerprint !== undefined && token.fingerprint !== rotation.sha256.slice(0, 8))
    return `${name} has another token with the id ${rotation.id}`
  if (token?.isAccepted) return undefined
  if (token !== undefined) return `${name} has the token ${rotation.id} but does not accept it`
  const sources = report.sources.map(({ place, isGood, problem: why }) =>
    isGood ? place : `${place} (${why ?? 'its last read failed'})`,
  )
  const reads = sources.length === 0 ? '' : `; it reads ${sources.join(' and ')}`
  return `${name} does not have the token ${rotation.id} yet${reads}`
}

/** How a gateway is called in sentences. */
export function nameOf(gateway: string): string {
  return gateway === 'local' ? 'the gateway of this state directory' : `the gateway ${gateway}`
}

function useOf(
  token: OldToken,
  rotation: Rotation,
  answers: readonly GatewayAnswer[],
  now: Moment,
): OldUse {
  const uses = answers.flatMap(({ gateway, report }) => {
    const known = report?.tokens.get(token.id)
    if (known === undefined) return []
    const aheadMs = skewOf(report?.clockMs, now)
    const atMs = known.lastUsedMs === undefined ? undefined : known.lastUsedMs - aheadMs
    return [{ gateway, known, atMs }]
  })
  const moments = uses.flatMap(({ atMs }) => atMs ?? [])
  if (token.lastUsedMs !== undefined) moments.push(token.lastUsedMs)
  const lastUsedMs = moments.length === 0 ? undefined : Math.max(...moments)
  const latest = uses.find(({ atMs }) => atMs !== undefined && atMs === lastUsedMs)
  const sinceMs = Math.max(lastUsedMs ?? 0, rotation.retiredAtMs ?? now.wallMs)
  return {
    token,
    lastUsedMs,
    quietForMs: now.wallMs - sinceMs - jumpsAfter(rotation, sinceMs),
    requestsSince: uses.reduce((sum, use) => sum + since(token, use.gateway, use.known), 0),
    lastUse: latest?.known.lastUse && { ...latest.known.lastUse, gateway: latest.gateway },
    refused: uses.reduce<Refused | undefined>(
      (sum, { known }) => added(sum, known.refused),
      undefined,
    ),
  }
}

function added(sum: Refused | undefined, more: Refused | undefined): Refused | undefined {
  if (sum === undefined || more === undefined) return sum ?? more
  const count = sum.count + more.count
  return more.lastMs > sum.lastMs ? { ...more, count } : { ...sum, count }
}

function since(token: OldToken, gateway: string, { requests }: ReportedToken): number {
  const before = token.requestsBefore?.[gateway]
  // A ledger that was lost began to count anew.
  return before === undefined || before > requests ? requests : requests - before
}

function skewOf(clockMs: number | undefined, { wallMs }: Moment): number {
  const aheadMs = clockMs === undefined ? 0 : clockMs - wallMs
  return Math.abs(aheadMs) < SKEW_MS ? 0 : aheadMs
}

/** Time that the wall clock says has passed, and has not. */
function jumpsAfter({ jumps = [] }: Rotation, sinceMs: number): number {
  return jumps.reduce((sum, jump) => sum + (jump.noticedAtMs > sinceMs ? jump.byMs : 0), 0)
}
