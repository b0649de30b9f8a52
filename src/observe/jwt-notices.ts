/** What is told of JWTs and their issuers. Never a JWT or anything out of one. */
import type { Log } from './log.ts'
import { Sampler } from './sampler.ts'

/** How a read of an issuer's keys went. */
export interface KeysRead {
  readonly issuer: string
  /** Keys in use now; 0 where none were ever read. */
  readonly keys: number
  /** What was wrong; undefined for a good read. */
  readonly problem: string | undefined
}

/** What an operator can do something about, by verdict. The rest shows in the metrics. */
const REFUSED: Readonly<Record<string, string>> = {
  unknown_issuer: 'their iss is none of TOLLGATE_JWT_ISSUERS, to the letter',
  audience: 'their aud has none of TOLLGATE_JWT_AUDIENCE',
  algorithm: 'their algorithm is none of TOLLGATE_JWT_ALGORITHMS',
  unknown_key: 'their issuer does not publish the key that they name',
  claims:
    'a claim is missing or has another value: exp, the one of TOLLGATE_JWT_HOLDER_CLAIM, or one of TOLLGATE_JWT_REQUIRED_CLAIMS',
  too_large: 'they are longer than 8 KiB',
  overloaded: 'too many were to be checked at once',
}

export class JwtNotices {
  readonly #log: Log
  readonly #refused = new Sampler(60_000)
  readonly #problems = new Map<string, string | undefined>()

  constructor(log: Log) {
    this.#log = log
  }

  /** An issuer's keys were read, or could not be. Told when that is news. */
  keysRead({ issuer, keys, problem }: KeysRead): void {
    const isNews = !this.#problems.has(issuer) || this.#problems.get(issuer) !== problem
    this.#problems.set(issuer, problem)
    if (!isNews) return
    const count = keys === 1 ? '1 key' : `${keys} keys`
    const fields = { issuer, keys }
    if (problem === undefined) {
      this.#log.info('keys_loaded', `Loaded ${count} of the issuer ${issuer}`, fields)
    } else if (keys > 0) {
      const message = `Could not read the keys of the issuer ${issuer}: ${problem}. The ${count} read before stay in use`
      this.#log.error('keys_kept_last_good', message, fields)
    } else {
      const message = `Could not read the keys of the issuer ${issuer}: ${problem}. Its JWTs cannot be checked yet; clients are asked to come back`
      this.#log.error('keys_unavailable', message, fields)
    }
  }

  /** A JWT came to a verdict against it. Said once a minute for each kind that a person can do something about. */
  refused(verdict: string, wallMs: number): void {
    const words = REFUSED[verdict]
    if (words === undefined) return
    const suppressed = this.#refused.take(verdict, wallMs)
    if (suppressed === undefined) return
    const more = suppressed === 0 ? '' : ` (${suppressed} more like it before)`
    this.#log.warn('jwt_refused', `JWTs are refused: ${words}${more}`, { verdict, suppressed })
  }
}
