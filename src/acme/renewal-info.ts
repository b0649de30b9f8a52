/** What a directory says about when to renew (RFC 9773). */
import { AcmeFault } from './acme-fault.ts'
import type { AcmeClient } from './client.ts'
import type { Window } from './schedule.ts'

const HOUR_MS = 3_600_000
/** How often to ask where the directory does not say. */
const ASK_MS = 6 * HOUR_MS
const SHORTEST_MS = 60_000
const LONGEST_MS = 24 * HOUR_MS

/** An answer. */
export interface RenewalInfo {
  readonly window: Window
  /** When to ask again, Unix milliseconds: between a minute and a day from now. */
  readonly askAgainMs: number
  /** A page that tells people why, such as a revocation; undefined for none. */
  readonly explanation: string | undefined
}

/** Asks about one certificate. Undefined where the directory does not tell. @throws {AcmeFault} where it should and does not. */
export async function askRenewalInfo(
  client: AcmeClient,
  pem: string,
  wallMs: () => number,
): Promise<RenewalInfo | undefined> {
  const { renewalInfo } = await client.directory()
  if (renewalInfo === undefined) return undefined
  const { renewalIdOf } = await import('./certificates.ts')
  const id = renewalIdOf(pem)
  if (id === undefined) return undefined
  const { body, retryAtMs } = await client.get(`${renewalInfo}/${id}`, 'when to renew')
  return {
    window: windowFrom(body.suggestedWindow),
    askAgainMs: askAgainAt(retryAtMs, wallMs()),
    explanation: pageFrom(body.explanationURL),
  }
}

/** When to ask again, as far as what was said is within reason. */
export function askAgainAt(saidMs: number | undefined, wallMs: number): number {
  const waitMs = saidMs === undefined ? ASK_MS : saidMs - wallMs
  return wallMs + Math.min(Math.max(waitMs, SHORTEST_MS), LONGEST_MS)
}

/** @throws {AcmeFault} where it is no window. */
export function windowFrom(value: unknown): Window {
  const { start, end } = (value ?? {}) as Record<string, unknown>
  const [startMs, endMs] = [Date.parse(String(start)), Date.parse(String(end))]
  if (Number.isNaN(startMs) || Number.isNaN(endMs) || endMs <= startMs) {
    throw new AcmeFault('away', 'the directory named no window for the renewal')
  }
  return { startMs, endMs }
}

function pageFrom(value: unknown): string | undefined {
  return typeof value === 'string' && /^https:\/\/[!-~]{1,500}$/.test(value) ? value : undefined
}
