/** What is told of each request: counted always, logged where somebody may have to act. */
import type { Arrival } from '../pipeline/arrival.ts'
import type { Outcome, Reason } from '../pipeline/outcome.ts'
import type { Clock, Ending, HoldReason, Journal, Token } from '../pipeline/ports.ts'
import type { Audit } from './audit.ts'
import type { Log, LogEvent, LogFields } from './log.ts'
import { causeWords, foreign } from './redact.ts'
import type { RequestNumbers } from './requests.ts'
import { Sampler } from './sampler.ts'

/** What requests are booked to: the ledger of tokens. */
export interface TokenBook {
  /** Books the end of a request, and returns the token it carried, accepted or not. */
  ended(arrival: Arrival, ending: Ending, wallMs: number): Token | undefined
  /** Why a token is not accepted any more and what its holder has instead. Not for the client. */
  storyOf(token: Token, wallMs: number): string | undefined
}

export interface JournalOptions {
  readonly tokens: TokenBook
  readonly numbers: RequestNumbers
  readonly log: Log
  /** Undefined where no audit log is kept. */
  readonly audit: Audit | undefined
  readonly clock: Clock
}

/** At most one line a second about the same outcome. */
const SAMPLE_INTERVAL_MS = 1000

/** Refusals of credentials. Not `banned`: the ban has had its line, and a banned client can send many more. */
const AUDITED: ReadonlySet<Outcome> = new Set<Outcome>([
  'token_missing',
  'token_unknown',
  'token_expired',
  'token_not_yet_valid',
  'scope_denied',
  'certificate_unknown',
])

type Severity = 'debug' | 'info' | 'warn' | 'error'

/** How an outcome is told. `%` stands for what was asked and from where. */
interface Telling {
  readonly severity: Severity
  readonly event: LogEvent
  readonly words: string
}

function refused(severity: Severity, why: string): Telling {
  return { severity, event: 'refused', words: `Refused %: ${why}` }
}

const TELLINGS = {
  banned: refused('info', 'the address is banned'),
  rate_limited: refused('info', 'over its rate'),
  token_missing: refused('info', 'it carries no bearer token'),
  token_unknown: refused('info', 'its token is not in the token set'),
  token_expired: refused('warn', 'its token has expired; give the agent a new one'),
  token_not_yet_valid: refused('warn', 'its token is not valid yet; check notBefore and the clock'),
  tokens_unavailable: refused('error', 'no token set could be loaded, so nobody can be let in'),
  scope_denied: refused('info', 'its token does not allow this'),
  certificate_unknown: refused(
    'warn',
    'it carries no bearer token, and no token of the set has its client certificate',
  ),
  too_large: refused('warn', 'the message is larger than TOLLGATE_MAX_BODY'),
  malformed: refused('info', 'the request breaks the rules of its protocol'),
  unknown_path: refused('info', 'the path is none of OTLP'),
  bad_method: refused('info', 'the method is not POST'),
  bad_content_type: refused('info', 'the content type is none of OTLP'),
  unsupported_encoding: refused('info', 'its compression is not supported'),
  overloaded: refused('warn', 'the gateway holds as much as it may'),
  draining: refused('info', 'the gateway is stopping'),
  collector_unavailable: {
    severity: 'warn',
    event: 'fault',
    words: 'Could not deliver %: the collector cannot be reached',
  },
  collector_timeout: {
    severity: 'warn',
    event: 'fault',
    words: 'Could not deliver %: the collector did not answer in time',
  },
  internal: {
    severity: 'error',
    event: 'internal',
    words: 'A defect of the gateway ended %. The client was asked to try again. Please report it',
  },
  client_gone: {
    severity: 'debug',
    event: 'fault',
    words: 'The client left before the answer to %',
  },
} as const satisfies Record<Reason, Telling>

const COLLECTOR_REFUSED: Telling = {
  severity: 'warn',
  event: 'collector_refused',
  words: 'The collector refused %; its answer was passed on',
}

/** Counts, logs and audits requests. Never throws; a line is at most one a second and outcome. */
export class RequestJournal implements Journal {
  readonly #options: JournalOptions
  readonly #sampler = new Sampler(SAMPLE_INTERVAL_MS)

  constructor(options: JournalOptions) {
    this.#options = options
  }

  arrived(arrival: Arrival): void {
    this.#options.numbers.arrived(arrival)
  }

  ended(arrival: Arrival, ending: Ending): void {
    const { numbers, tokens, clock, log } = this.#options
    numbers.ended(arrival, ending)
    const { outcome } = ending
    const token = tokens.ended(arrival, ending, clock.wallMs())
    const known = token === ending.token ? ending : { ...ending, token }
    if (log.isDebug) this.#tellAll(arrival, known)
    if (outcome === 'accepted') return
    if (AUDITED.has(outcome)) this.#audit(arrival, outcome)
    this.#tell(arrival, known, outcome)
  }

  held(_arrival: Arrival, why: HoldReason): void {
    this.#options.numbers.held(why)
  }

  unheld(
    _arrival: Arrival,
    why: HoldReason,
    how: 'saved' | 'refused' | 'gone',
    waitedMs: number,
  ): void {
    this.#options.numbers.unheld(why, how, waitedMs)
  }

  /** Says what the sampling has kept back so far. To be called before the end. */
  flush(): void {
    for (const { kind, suppressed } of this.#sampler.drain())
      this.#options.log.info('notice', `${suppressed} more lines like the last of ${kind}`, {
        reason: kind,
        suppressed,
      })
  }

  #tell(arrival: Arrival, ending: Ending, outcome: Exclude<Outcome, 'accepted'>): void {
    const { clock, log, tokens } = this.#options
    const suppressed = this.#sampler.take(outcome, clock.nowMs())
    if (suppressed === undefined) return
    const { severity, event, words } =
      outcome === 'collector_refused' ? COLLECTOR_REFUSED : TELLINGS[outcome]
    const late = outcome === 'token_expired' ? ending.token : undefined
    const story = late && tokens.storyOf(late, clock.wallMs())
    const detail = ending.refusal?.detail
    const why = story ?? (detail && foreign(detail))
    const message = words.replace('%', () => whatFrom(arrival))
    log[severity](event, why === undefined ? message : `${message} (${why})`, {
      reason: outcome,
      ...requestFields(arrival, ending),
      ...(suppressed > 0 ? { suppressed } : {}),
      ...causeFields(outcome, ending.cause),
    })
  }

  #tellAll(arrival: Arrival, ending: Ending): void {
    const { outcome, durationMs, bytesIn, bytesOut } = ending
    this.#options.log.debug('request', `${outcome}: ${whatFrom(arrival)}`, {
      outcome,
      ...requestFields(arrival, ending),
      durationMs: Math.round(durationMs * 1000) / 1000,
      bytesIn,
      bytesOut,
    })
  }

  #audit({ peer, protocol, signal, userAgent }: Arrival, reason: Outcome): void {
    const { audit, clock } = this.#options
    audit?.write({
      wallMs: clock.wallMs(),
      event: 'auth_refused',
      reason,
      address: peer.address,
      protocol,
      signal,
      userAgent,
    })
  }
}

const PROTOCOL_WORDS = { grpc: 'gRPC', http: 'HTTP' } as const

function whatFrom({ protocol, signal, peer }: Arrival): string {
  const what = signal === 'none' ? 'a request' : signal
  return `${what} over ${PROTOCOL_WORDS[protocol]} from ${peer.address}`
}

function requestFields({ protocol, signal, peer, userAgent }: Arrival, ending: Ending): LogFields {
  return {
    protocol,
    signal,
    peer: peer.address,
    ...(ending.token === undefined ? {} : { token: ending.token.id, holder: ending.token.holder }),
    ...(userAgent === undefined ? {} : { userAgent: foreign(userAgent) }),
  }
}

/** The stack only where it leads to a defect of ours; elsewhere it would hide the words. */
function causeFields(outcome: Outcome, cause: unknown): LogFields {
  if (cause === undefined) return {}
  return outcome === 'internal' ? { err: cause } : { cause: causeWords(cause) }
}
