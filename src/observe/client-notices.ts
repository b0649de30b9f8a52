/** What is told of client certificates and of the CRLs they are held against. */
import type { Log } from './log.ts'
import { Sampler } from './sampler.ts'

/** What a person can do about it, by result. */
const WORDS: Readonly<Record<string, string>> = {
  missing: 'the client showed no certificate, and TOLLGATE_TLS_CLIENT_AUTH is required',
  expired: 'its client certificate has expired; give the client a new one',
  not_yet_valid: 'its client certificate is not valid yet; is one of the clocks wrong?',
  revoked: 'its client certificate was revoked by the CRL',
  unknown_ca:
    'its client certificate is by none of the CAs in TOLLGATE_TLS_CLIENT_CA, or the client does not send the CA in between',
  self_signed:
    'its client certificate is signed by itself, or by a CA that only the client knows; expected one by a CA in TOLLGATE_TLS_CLIENT_CA',
  wrong_purpose:
    'its certificate is not for clients; expected extendedKeyUsage clientAuth, or none at all',
  bad_signature: 'the signature of its client certificate is wrong',
  crl_expired: 'the CRL has expired, so no client of its CA gets in; put a new one in place',
  crl_missing: 'there is no CRL of the CA of its client certificate; put one in place',
  other: 'its client certificate cannot be verified',
}

/** A CRL and its time. */
interface Crl {
  readonly path: string
  readonly issuer: string
  readonly nextUpdateMs: number
}

export class ClientNotices {
  readonly #log: Log
  readonly #refused = new Sampler(60_000)

  constructor(log: Log) {
    this.#log = log
  }

  /**
   * A client certificate was not accepted. Said once a minute for each result. `isLetIn` where
   * certificates are optional.
   */
  refused(
    { result, code, address }: Record<'result' | 'code' | 'address', string>,
    isLetIn: boolean,
    wallMs: number,
  ): void {
    const suppressed = this.#refused.take(result, wallMs)
    if (suppressed === undefined) return
    const more = suppressed === 0 ? '' : ` (${suppressed} more like it before)`
    const words = WORDS[result] ?? WORDS.other
    const message = isLetIn
      ? `The client certificate of ${address} does not count: ${words}. Its token is still asked for${more}`
      : `No TLS with ${address}: ${words}${more}`
    const fields = { peer: address, code, result, suppressed }
    this.#log.info(isLetIn ? 'client_certificate_ignored' : 'handshake_failed', message, fields)
  }

  /** CAs or CRLs are in use that turn clients away. */
  warning(warning: string): void {
    this.#log.warn('client_trust_warning', `Client certificates: ${warning}`)
  }

  /** A CRL is in the last part of its time. */
  crlEnds({ path, issuer, nextUpdateMs }: Crl): void {
    const nextUpdate = new Date(nextUpdateMs).toISOString()
    this.#log.warn(
      'crl_expiring',
      `The CRL of ${issuer} in ${path} is good until ${nextUpdate}. Put the next one in place before: without it no client of this CA gets in`,
      { path, issuer, nextUpdate },
    )
  }

  /** A CRL is past its time. */
  crlEnded({ path, issuer, nextUpdateMs }: Crl): void {
    const nextUpdate = new Date(nextUpdateMs).toISOString()
    this.#log.error(
      'crl_expired',
      `The CRL of ${issuer} in ${path} expired on ${nextUpdate}: no client of this CA gets in. Put a new one in place; no restart is needed`,
      { path, issuer, nextUpdate },
    )
  }
}
