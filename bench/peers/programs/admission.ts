/**
 * What the small proxies have in common: the token by the SHA-256 of it, and a count of each
 * address against a limit that is never reached.
 */
import { createHash } from 'node:crypto'

/** Where a small proxy listens and what is behind it, as its contestant passes it on. */
export interface ProgramSetting {
  readonly port: number
  readonly collectorPort: number
  readonly certPath: string
  readonly keyPath: string
  readonly tokens: readonly string[]
}

/** Reads the setting off the command line. */
export function programSetting(): ProgramSetting {
  const [json] = process.argv.slice(2)
  if (json === undefined) throw new Error('Usage: PROGRAM SETTING-AS-JSON')
  return JSON.parse(json)
}

const WINDOW_MS = 1000
export const MAX_PER_WINDOW = 1_000_000
const BEARER = 'Bearer '

const digestOf = (text: string) => createHash('sha256').update(text).digest('base64')

export class Admission {
  readonly #holders: ReadonlyMap<string, string>
  readonly #counts = new Map<string, { count: number; sinceMs: number }>()

  constructor(tokens: readonly string[]) {
    this.#holders = new Map(tokens.map((token, index) => [digestOf(token), `holder ${index}`]))
  }

  /** Whether the token in an Authorization field is known. */
  isKnown(authorization: string | undefined): boolean {
    if (authorization === undefined || !authorization.startsWith(BEARER)) return false
    return this.#holders.has(digestOf(authorization.slice(BEARER.length)))
  }

  /** Counts a request of an address; false where it has had too many. */
  count(address: string): boolean {
    const nowMs = performance.now()
    const entry = this.#counts.get(address)
    if (entry === undefined || nowMs - entry.sinceMs > WINDOW_MS) {
      this.#counts.set(address, { count: 1, sinceMs: nowMs })
      return true
    }
    entry.count += 1
    return entry.count <= MAX_PER_WINDOW
  }
}
