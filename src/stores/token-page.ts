/** The ledger as JSON, for the admin port, the control socket and `tollgate token list --json`. */
import type { Account } from './ledger.ts'
import { type Sdk, sdkOf } from './sdk.ts'
import type { TokenState } from './token-state.ts'
import type { TokenStatus } from './tokens.ts'

/** A place that the token set comes from. */
export interface SourceRow {
  /** As the operator wrote it: `file:/etc/tollgate/tokens.json`. */
  readonly place: string
  /** Whether the last read was good. */
  readonly isGood: boolean
  /** What was wrong with it, in words. */
  readonly problem: string | null
  readonly lastGoodAt: string | null
}

/** One token of the set. Times are ISO 8601 in UTC, null for never or unknown. */
export interface TokenRow {
  readonly id: string
  readonly holder: string
  /** The first eight hexadecimal digits of the digest: tells tokens apart and opens nothing. */
  readonly fingerprint: string
  readonly state: TokenState
  readonly isAccepted: boolean
  readonly createdAt: string | null
  readonly notBefore: string | null
  readonly expiresAt: string | null
  readonly retiringAt: string | null
  readonly revokedAt: string | null
  readonly replacedBy: string | null
  readonly firstUsedAt: string | null
  readonly lastUsedAt: string | null
  /** Admitted requests, and the bytes of their messages; over restarts. */
  readonly requests: number
  readonly bytes: number
  readonly graceUses: number
  readonly refusals: Readonly<Record<string, number>>
  readonly lastRefusedAt: string | null
  readonly lastUse: {
    readonly address: string
    readonly signal: string
    readonly protocol: string
    readonly userAgent: string | null
    readonly sdk: Sdk | null
  } | null
  readonly lastRefusal: {
    readonly address: string
    readonly reason: string
    readonly userAgent: string | null
    readonly sdk: Sdk | null
  } | null
}

/** The whole page. Holds no secret and no whole digest. */
export interface TokenPage {
  readonly sources: readonly SourceRow[]
  readonly tokens: readonly TokenRow[]
}

/** Tokens in one piece of the page: so much is worked out without letting requests go first. */
const ROWS_A_PIECE = 200

/** The page as text, in pieces. */
export function* pagePieces(
  sources: readonly SourceRow[],
  statuses: Iterable<TokenStatus>,
): Generator<string> {
  let piece = `{"sources":${JSON.stringify(sources)},"tokens":[`
  let count = 0
  for (const status of statuses) {
    piece += `${count === 0 ? '' : ','}\n${JSON.stringify(rowOf(status))}`
    count += 1
    if (count % ROWS_A_PIECE > 0) continue
    yield piece
    piece = ''
  }
  yield `${piece}]}\n`
}

/** One token as the page shows it. */
export function rowOf({ record, state, isAccepted, account }: TokenStatus): TokenRow {
  const { requests, bytes, graceUses, refusals } = account.totals()
  return {
    id: record.id,
    holder: record.holder,
    fingerprint: record.sha256.slice(0, 8),
    state,
    isAccepted,
    createdAt: iso(record.createdAtMs),
    notBefore: iso(record.notBeforeMs),
    expiresAt: iso(record.expiresAtMs),
    retiringAt: iso(record.retiringAtMs),
    revokedAt: iso(record.revokedAtMs),
    replacedBy: record.replacedBy ?? null,
    firstUsedAt: iso(account.firstUsedMs),
    lastUsedAt: iso(account.lastUsedMs),
    requests,
    bytes,
    graceUses,
    refusals: Object.fromEntries(refusals),
    lastRefusedAt: iso(account.lastRefusedMs),
    lastUse: lastUseOf(account),
    lastRefusal: lastRefusalOf(account),
  }
}

/** The tokens as the metrics page counts them: since the process started. */
export function* tokenUsages(statuses: Iterable<TokenStatus>) {
  for (const { record, state, account } of statuses) {
    const { id, holder, expiresAtMs } = record
    const { requests, bytes, graceUses, retiringUses, refusals } = account
    yield {
      id,
      holder,
      state,
      expiresAtMs,
      firstUsedMs: account.firstUsedMs || undefined,
      lastUsedMs: account.lastUsedMs || undefined,
      requests,
      bytes,
      graceUses,
      retiringUses,
      refusals,
    }
  }
}

function lastUseOf(account: Account): TokenRow['lastUse'] {
  if (account.lastUsedMs === 0) return null
  const { address, signal, protocol, userAgent } = account
  return { address, signal, protocol, ...programOf(userAgent) }
}

function lastRefusalOf(account: Account): TokenRow['lastRefusal'] {
  const { refusedReason, refusedAddress, refusedUserAgent } = account
  if (refusedReason === undefined) return null
  return { address: refusedAddress, reason: refusedReason, ...programOf(refusedUserAgent) }
}

function programOf(userAgent: string | undefined): { userAgent: string | null; sdk: Sdk | null } {
  if (userAgent === undefined) return { userAgent: null, sdk: null }
  return { userAgent, sdk: sdkOf(userAgent) ?? null }
}

function iso(wallMs: number | undefined): string | null {
  return wallMs === undefined || wallMs === 0 ? null : new Date(wallMs).toISOString()
}
