/** What happens to the gateway itself, in words that leave no question; bans also in the audit log. */
import type { Clock } from '../pipeline/ports.ts'
import type { Audit } from './audit.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import { Sampler } from './sampler.ts'

export interface NoticesOptions {
  readonly log: Log
  /** Undefined where no audit log is kept. */
  readonly audit: Audit | undefined
  readonly metrics: Pick<Metrics, 'banned'>
  readonly clock: Pick<Clock, 'wallMs'>
  /** How many offences within which time make a ban, for the words of the line. */
  readonly banRule: { readonly strikes: number; readonly windowMs: number } | undefined
}

/** A ban that has begun. */
export interface BanNotice {
  /** What is banned: an address, or the /64 of an IPv6 address. */
  readonly peerKey: string
  /** The address that struck last. */
  readonly address: string
  readonly lengthMs: number
  /** Bans of this peer before, as far as they are remembered. */
  readonly repeats: number
  /** Set by hand. */
  readonly isManual: boolean
}

/** A token that is past its end and still in use. */
export interface LateTokenNotice {
  readonly id: string
  readonly holder: string
  readonly address: string
  readonly expiredAtMs: number
  readonly untilMs: number
}

/** What can be told of a file that keeps something over a restart. */
export type StateFileEvent =
  | {
      readonly kind: 'broken'
      readonly path: string
      readonly movedTo: string
      readonly why: string
    }
  | { readonly kind: 'unreadable' | 'unsaved'; readonly path: string; readonly why: string }
  | { readonly kind: 'saved_again'; readonly path: string }

export class Notices {
  readonly #options: NoticesOptions
  readonly #handshakes = new Sampler(60_000)

  constructor(options: NoticesOptions) {
    this.#options = options
  }

  /** The process runs. */
  started(version: string): void {
    this.#options.log.info('start', `Tollgate ${version} starts on Node.js ${process.version}`, {
      version,
      node: process.version,
      pid: process.pid,
    })
  }

  /** The ports are open. An address is undefined where its port is off. */
  listening(addresses: Readonly<Record<'grpc' | 'http' | 'admin', string | undefined>>): void {
    const { grpc, http, admin } = addresses
    const open = [grpc, http].filter((address) => address !== undefined).join(' and ')
    const pages = admin === undefined ? '' : `; metrics and health on http://${admin}`
    this.#options.log.info('listening', `Listening for OTLP on ${open}${pages}`, addresses)
  }

  /** Something about the file that keeps bans over a restart. */
  banFile(event: StateFileEvent): void {
    this.#stateFile(event, ['bans', 'Bans are', 'They hold until a restart'])
  }

  /** Something about the file that keeps the ledger of tokens over a restart. */
  ledgerFile(event: StateFileEvent): void {
    this.#stateFile(event, [
      'the ledger of tokens',
      'The ledger of tokens is',
      'It is whole until a restart',
    ])
  }

  #stateFile(
    event: StateFileEvent,
    [what, whatIs, consequence]: readonly [string, string, string],
  ): void {
    const { log } = this.#options
    const { path } = event
    if (event.kind === 'saved_again') {
      log.info('notice', `${whatIs} kept in ${path} again`, { path })
    } else if (event.kind === 'broken') {
      const { movedTo, why } = event
      log.warn('notice', `Could not read ${what} of ${path}: ${why}. It was moved to ${movedTo}`, {
        path,
      })
    } else {
      const doing = event.kind === 'unsaved' ? `keep ${what} in` : `read ${what} of`
      log.error('notice', `Cannot ${doing} ${path}: ${event.why}. ${consequence}`, { path })
    }
  }

  /** A token set was loaded. `from` names the file or the option, never its content. */
  tokensLoaded(count: number, from: string): void {
    const tokens = count === 1 ? '1 token' : `${count} tokens`
    this.#options.log.info('tokens_loaded', `Loaded ${tokens} from ${from}`, { count, from })
  }

  /** A token set was bad; the last good one stays. */
  tokensKept(count: number, from: string, problem: string): void {
    this.#options.log.error(
      'tokens_kept_last_good',
      `Could not load the tokens from ${from}: ${withoutPlace(problem, from)}. The ${count} loaded before stay in use`,
      { count, from },
    )
  }

  /** A place that tokens come from has never been read well: what is unknown is asked to come back. */
  tokensUnavailable(from: string, problem: string): void {
    this.#options.log.error(
      'tokens_unavailable',
      `Could not load the tokens from ${from}: ${withoutPlace(problem, from)}. Until it can be read, a token that is unknown is asked to come back, not refused`,
      { from },
    )
  }

  /** A place is away at the start; what it said the last time was taken from disk. */
  cachedTokensTaken(count: number, from: string, ageMs: number): void {
    const tokens = count === 1 ? '1 token' : `${count} tokens`
    this.#options.log.warn(
      'tokens_loaded',
      `Took ${tokens} as ${from} had them ${ageInWords(ageMs)} ago: it cannot be read now`,
      { count, from, ageSeconds: Math.round(ageMs / 1000) },
    )
  }

  /** A version that is to come is no good; the one in force is. */
  tokensLeftOut(from: string, problem: string): void {
    const why = withoutPlace(problem, from)
    this.#options.log.warn('notice', `Left out a version of ${from} that is to come: ${why}`, {
      from,
    })
  }

  /** A set names client certificates that stand in for tokens, and none may. */
  certificateEntriesIdle(count: number, from: string): void {
    const message = `Entries of ${from} that name a client certificate (${count}) let nobody in: TOLLGATE_TLS_CLIENT_TOKEN is not instead`
    this.#options.log.warn('notice', message, { from, count })
  }

  /** What was kept of a place on disk cannot be used. */
  cachedTokensIgnored(from: string, problem: string): void {
    this.#options.log.warn('notice', `Ignored what was kept of ${from} on disk: ${problem}`, {
      from,
    })
  }

  /** The last good set of a place cannot be kept on disk. */
  cachedTokensUnsaved(from: string, problem: string): void {
    this.#options.log.warn(
      'notice',
      `Cannot keep the tokens of ${from} on disk: ${problem}. A restart while it is away would have none`,
      { from },
    )
  }

  /** A token was used after its end, by grace. */
  tokenInGrace({ id, holder, address, expiredAtMs, untilMs }: LateTokenNotice): void {
    const [expiredAt, until] = [expiredAtMs, untilMs].map((ms) => new Date(ms).toISOString())
    this.#options.log.warn(
      'token_grace',
      `Token ${id} of ${holder} expired on ${expiredAt} and is used from ${address}: accepted until its holder uses a newer one, at most until ${until}`,
      { token: id, holder, peer: address, expiredAt, until },
    )
  }

  /** A certificate was loaded. */
  certificateLoaded(names: readonly string[], notAfterMs: number): void {
    const notAfter = new Date(notAfterMs).toISOString()
    this.#options.log.info(
      'certificate_loaded',
      `Loaded the certificate for ${names.join(', ')}, valid until ${notAfter}`,
      { names, notAfter },
    )
  }

  /** A certificate is in use that not every client takes, or none does. The sentence names its file. */
  certificateWarning(warning: string): void {
    this.#options.log.warn('certificate_warning', warning)
  }

  /** The certificate in use has come to its end. */
  certificateExpired(from: string, notAfterMs: number): void {
    const notAfter = new Date(notAfterMs).toISOString()
    this.#options.log.error(
      'certificate_expired',
      `The certificate from ${from} expired on ${notAfter}: clients refuse it. Replace the files; no restart is needed`,
      { from, notAfter },
    )
  }

  /** A certificate was bad; the last good one stays. */
  certificateKept(from: string, problem: string, notAfterMs: number): void {
    const notAfter = new Date(notAfterMs).toISOString()
    this.#options.log.error(
      'certificate_kept_last_good',
      `Could not load the certificate from ${from}: ${withoutPlace(problem, from)}. The one loaded before stays in use; it is valid until ${notAfter}`,
      { from, notAfter },
    )
  }

  /** The collector can be reached (again). `words` say which and for how long it was away. */
  collectorUp(words: string): void {
    this.#options.log.info('collector_up', words)
  }

  /** The collector cannot be reached. `words` say which and why. */
  collectorDown(words: string): void {
    this.#options.log.warn('collector_down', `${words}. Requests wait for it as long as they may`)
  }

  /** A ban began. */
  banned({ peerKey, address, lengthMs, repeats, isManual }: BanNotice): void {
    const { log, audit, metrics, clock, banRule } = this.#options
    const seconds = Math.round(lengthMs / 1000)
    const who = peerKey === address ? peerKey : `${peerKey} (last seen: ${address})`
    const strikes =
      banRule === undefined
        ? 'too many requests without a valid token'
        : `${banRule.strikes} requests without a valid token within ${inWords(banRule.windowMs)}`
    const again = repeats > 0 ? `; banned before: ${repeats}` : ''
    metrics.banned()
    log.warn(
      'ban',
      `Banned ${who} for ${inWords(lengthMs)}: ${isManual ? 'set by hand' : strikes}${again}. Lift it with: tollgate bans lift ${peerKey}`,
      { peer: peerKey, address, seconds, repeats, isManual },
    )
    audit?.write({
      wallMs: clock.wallMs(),
      event: 'banned',
      reason: isManual ? 'manual' : 'strikes',
      address,
      seconds,
    })
  }

  /** A ban was lifted by hand. */
  banLifted(peerKey: string): void {
    const { log, audit, clock } = this.#options
    log.info('ban_lifted', `Lifted the ban of ${peerKey}`, { peer: peerKey })
    audit?.write({
      wallMs: clock.wallMs(),
      event: 'ban_lifted',
      reason: 'manual',
      address: peerKey,
    })
  }

  /**
   * A client and we could not agree on TLS. Said once a minute for each kind that a person can do
   * something about; scanners make the rest.
   */
  handshakeFailed(code: string, address: string): void {
    const words = HANDSHAKE_WORDS[code]
    if (words === undefined) return
    const suppressed = this.#handshakes.take(code, this.#options.clock.wallMs())
    if (suppressed === undefined) return
    const more = suppressed === 0 ? '' : ` (${suppressed} more like it before)`
    const message = `No TLS with ${address}: ${words}${more}`
    this.#options.log.info('handshake_failed', message, { peer: address, code, suppressed })
  }

  /** The gateway begins to stop. */
  draining(signal: string, drainMs: number, inFlight: number): void {
    this.#options.log.info(
      'draining',
      `${signal}: no new requests; waiting up to ${inWords(drainMs)} for ${inFlight} in flight. Once more stops at once`,
      { signal, drainMs, inFlight },
    )
  }

  /** The gateway has stopped. `abandoned` requests did not end in time. */
  stopped(abandoned: number): void {
    const rest = abandoned === 0 ? 'nothing was in flight' : `${abandoned} requests were cut off`
    this.#options.log.info('stop', `Stopped; ${rest}`, { abandoned })
  }

  /** The audit log cannot be written. */
  auditFailed(path: string, cause: unknown): void {
    this.#options.log.error(
      'audit_failed',
      `Cannot write the audit log ${path}: lines are lost until this is mended. Requests are not affected`,
      { path, err: cause },
    )
  }

  /** The audit log can be written again. */
  auditRecovered(path: string, lost: number): void {
    this.#options.log.info(
      'audit_recovered',
      `The audit log ${path} is written again; ${lost} lines were lost since the start`,
      { path, lost },
    )
  }
}

/** What a newcomer's first mistakes look like from here. */
const HANDSHAKE_WORDS: Readonly<Record<string, string>> = {
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA:
    'the client does not trust our certificate; give it the CA (OTEL_EXPORTER_OTLP_CERTIFICATE)',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    'the client does not trust our certificate; give it the CA (OTEL_EXPORTER_OTLP_CERTIFICATE)',
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE:
    'the client does not accept our certificate; is it for the name that the client uses?',
  ERR_SSL_HTTP_REQUEST: 'the client speaks plain HTTP; its endpoint should begin with https://',
  ERR_SSL_PACKET_LENGTH_TOO_LONG:
    'the client does not speak TLS; its endpoint should begin with https://',
  ERR_SSL_WRONG_VERSION_NUMBER:
    'the client does not speak TLS; its endpoint should begin with https://',
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    'the client showed no certificate, and TOLLGATE_TLS_CLIENT_AUTH is required',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'the client is too old for TLS 1.2',
  ERR_SSL_NO_SHARED_CIPHER: 'the client has no cipher suite that is still safe',
}

/** What went wrong begins with where, most often, and so does the line that tells of it. */
function withoutPlace(problem: string, place: string): string {
  return problem.startsWith(`${place}: `) ? problem.slice(place.length + 2) : problem
}

/** An age to one unit, rounded down: `3 d`, `5 min`. */
function ageInWords(ageMs: number): string {
  const [unit, ms] = UNITS.find(([, unitMs]) => ageMs >= unitMs) ?? ['s', 1000]
  return `${Math.floor(Math.max(0, ageMs) / ms)} ${unit}`
}

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
] as const

/** A duration as a person says it: the largest unit that divides it, or else its seconds. */
export function inWords(durationMs: number): string {
  for (const [unit, ms] of UNITS)
    if (durationMs >= ms && durationMs % ms === 0) return `${durationMs / ms} ${unit}`
  return durationMs < 1000 ? `${Math.round(durationMs)} ms` : `${Math.round(durationMs / 1000)} s`
}
