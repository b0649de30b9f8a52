/**
 * Client certificates of the public ports. Part of the composition root: joins what the handshake says
 * of them with the token set, the numbers and the log.
 */
import type { TLSSocket } from 'node:tls'
import { isDeepStrictEqual } from 'node:util'
import type { Config } from './config/config.ts'
import { ClientNotices } from './observe/client-notices.ts'
import type { ClientReadings } from './observe/client-numbers.ts'
import type { Log } from './observe/log.ts'
import type { ClientCertificate } from './pipeline/arrival.ts'
import type { Clock } from './pipeline/ports.ts'
import {
  CLIENT_RESULTS,
  type ClientResult,
  clientCertificateFrom,
  clientResultOf,
} from './tls/client-certificate.ts'
import type { ClientTrust, CrlFacts } from './tls/client-trust.ts'

const TICK_MS = 60_000
/** A CRL is told of in the last quarter of its time, but not in less than this and not earlier than that. */
const LAST_PART = 4
const MIN_NOTICE_MS = 3_600_000
const MAX_NOTICE_MS = 7 * 24 * 3_600_000

export interface ClientCertificates {
  readonly readings: ClientReadings
  /** Other CAs or CRLs are in use. */
  trusts(trust: ClientTrust | undefined): void
  /**
   * The certificate that the requests of a connection may use in place of a token. `refused` where the
   * connection is to be ended: it resumes a session, and the certificate has come to its end since.
   */
  certificateOf(socket: TLSSocket, address: string): ClientCertificate | 'refused' | undefined
  /** Takes note of a handshake that failed for the client's certificate; false where that was not why. */
  failed(code: string, address: string): boolean
  /** Whether the CRLs in use name this certificate. */
  isRevoked(certificate: ClientCertificate): boolean
  close(): void
}

/** Undefined where no client certificate is asked for. */
export function createClientCertificates(
  { tls, tlsClientAuth, tlsClientToken }: Pick<Config, 'tls' | 'tlsClientAuth' | 'tlsClientToken'>,
  { log, clock }: { readonly log: Log; readonly clock: Clock },
): ClientCertificates | undefined {
  if (tls === 'off' || tlsClientAuth === 'off') return undefined
  const notices = new ClientNotices(log)
  const counts = new Map<ClientResult, number>(CLIENT_RESULTS.map((result) => [result, 0]))
  const isRequired = tlsClientAuth === 'required'
  const told = new Map<string, 'ends' | 'ended'>()
  let trust: ClientTrust | undefined

  const resultOf = (code: string) => {
    // What has no known issuer has no CRL either, and OpenSSL tells what it found last.
    if (code === 'UNABLE_TO_GET_CRL' && trust?.facts.hasAllCrls) return 'self_signed'
    return clientResultOf(code)
  }
  const count = (result: ClientResult) => counts.set(result, (counts.get(result) ?? 0) + 1)
  const refuse = (result: ClientResult, code: string, address: string, isLetIn: boolean) => {
    count(result)
    notices.refused({ result, code, address }, isLetIn, clock.wallMs())
    return isLetIn ? undefined : 'refused'
  }
  const crls = () => trust?.facts.crls ?? []
  const tick = () => {
    for (const crl of crls()) {
      const { path, issuer, nextUpdateMs } = crl
      if (nextUpdateMs === undefined) continue
      const key = `${path} ${issuer} ${nextUpdateMs}`
      const state = stateOf(crl, nextUpdateMs, clock.wallMs())
      if (state === undefined || told.get(key) === state) continue
      told.set(key, state)
      if (state === 'ends') notices.crlEnds({ path, issuer, nextUpdateMs })
      else notices.crlEnded({ path, issuer, nextUpdateMs })
    }
  }
  const ticker = setInterval(tick, TICK_MS).unref()

  return {
    readings: {
      results: () => counts,
      *crls() {
        for (const { issuer, nextUpdateMs } of crls())
          if (nextUpdateMs !== undefined) yield [issuer, nextUpdateMs] as const
      },
    },
    trusts(next) {
      const isNews = !isDeepStrictEqual(next?.facts, trust?.facts)
      trust = next
      // Each certificate of the server brings the same ones.
      if (!isNews) return
      told.clear()
      for (const warning of next?.facts.warnings ?? []) notices.warning(warning)
      tick()
    },
    certificateOf(socket, address) {
      const x509 = socket.getPeerX509Certificate()
      if (x509 === undefined) {
        count('missing')
        return undefined
      }
      if (!socket.authorized) {
        const code = String(socket.authorizationError)
        return refuse(resultOf(code) ?? 'other', code, address, !isRequired)
      }
      const isResumed = socket.isSessionReused()
      if (tlsClientToken === 'beside' && !isResumed) {
        count('verified')
        return undefined
      }
      const certificate = clientCertificateFrom(x509)
      if (isResumed) {
        // OpenSSL looked at it when the session began, up to two hours ago.
        if (clock.wallMs() >= certificate.notAfterMs)
          return refuse('expired', 'CERT_HAS_EXPIRED', address, !isRequired)
        if (trust?.revoked.has(certificate.mark))
          return refuse('revoked', 'CERT_REVOKED', address, !isRequired)
      }
      count('verified')
      return tlsClientToken === 'instead' ? certificate : undefined
    },
    failed(code, address) {
      const result = resultOf(code)
      if (result === undefined) return false
      refuse(result, code, address, false)
      return true
    },
    isRevoked: ({ mark }) => trust?.revoked.has(mark) ?? false,
    close: () => clearInterval(ticker),
  }
}

function stateOf({ thisUpdateMs }: CrlFacts, nextUpdateMs: number, wallMs: number) {
  if (wallMs >= nextUpdateMs) return 'ended'
  const part = (nextUpdateMs - thisUpdateMs) / LAST_PART
  const noticeMs = Math.min(Math.max(part, MIN_NOTICE_MS), MAX_NOTICE_MS)
  return wallMs >= nextUpdateMs - noticeMs ? 'ends' : undefined
}
