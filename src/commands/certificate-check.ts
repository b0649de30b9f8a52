/** What `tollgate check` says of the server's certificates: what they are, and how clients judge them. */
import type { X509Certificate } from 'node:crypto'
import type { Config } from '../config/config.ts'
import { isSelfSigned } from '../tls/chain.ts'
import type { ClientTrust } from '../tls/client-trust.ts'
import { systemCas, viewOfClient } from '../tls/client-view.ts'
import { datesProblem, loadServerCredentials, type ServerCredentials } from '../tls/credentials.ts'
import { nameOf } from '../tls/leaf-check.ts'
import { isFor, wrongHost } from '../tls/names.ts'
import { mainFileOf, type PairPlace, pairPlacesOf } from '../tls/pair-place.ts'

const DAY_MS = 86_400_000
/** A certificate with less time left deserves a word. */
const SOON_MS = 21 * DAY_MS

/** One line of the report, or several. */
export interface CertificateFinding {
  readonly level: 'ok' | 'note' | 'bad'
  readonly text: string
}

/** What the codes of OpenSSL and Node mean for the operator. */
const VERDICTS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'a certificate of the chain has expired',
  CERT_NOT_YET_VALID: 'a certificate of the chain is not valid yet',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'it is self-signed; clients have to be given it as their CA',
  SELF_SIGNED_CERT_IN_CHAIN:
    'its CA is not among those of this machine; clients have to be given that CA (OTEL_EXPORTER_OTLP_CERTIFICATE)',
  UNABLE_TO_GET_ISSUER_CERT: 'an intermediate certificate is missing',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    'the chain ends at a CA that is not among those of this machine; clients have to be given that CA (OTEL_EXPORTER_OTLP_CERTIFICATE), or an intermediate certificate is missing',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    'the chain is the certificate alone, and its CA is not among those of this machine; clients have to be given that CA (OTEL_EXPORTER_OTLP_CERTIFICATE), or an intermediate certificate is missing',
  ERR_TLS_CERT_ALTNAME_INVALID: 'it is not for that name',
}

/** Looks at every certificate of the configuration. `names` are those of the first. */
export async function lookAtCertificates(config: Config): Promise<{
  readonly findings: readonly CertificateFinding[]
  readonly names: readonly string[]
}> {
  const places = pairPlacesOf(config)
  if (config.tls === 'off' || places.length === 0) {
    const text =
      config.tls === 'off'
        ? 'certificate: none, TLS is off'
        : `certificate: none given; a development certificate in ${config.stateDir} stands in, and agents need its ca.pem`
    return { findings: [{ level: 'note', text }], names: [] }
  }
  const findings: CertificateFinding[] = []
  const loaded: ServerCredentials[] = []
  for (const place of places) {
    const credentials = await load(place, config, findings)
    if (credentials === undefined) continue
    loaded.push(credentials)
    findings.push(...describe(credentials), await judge(credentials, config))
  }
  for (const domain of config.tlsDomain) {
    const isCovered = loaded.some(({ facts: { chain } }) => chain[0] && isFor(chain[0], domain))
    const [place] = places
    // Where none could be read, that was said.
    if (isCovered || loaded.length === 0 || place === undefined) continue
    const names = loaded.flatMap(({ facts }) => facts.names)
    const text = `certificate: ${wrongHost(domain, mainFileOf(place), names)}`
    findings.push({ level: 'bad', text })
  }
  findings.push(...clientFindings(loaded[0]?.clientTrust))
  return { findings, names: loaded[0]?.facts.names ?? [] }
}

async function load(
  place: PairPlace,
  { tlsClientCa, tlsClientCrl }: Config,
  findings: CertificateFinding[],
): Promise<ServerCredentials | undefined> {
  try {
    const trust = { clientCaPath: tlsClientCa, clientCrlPaths: tlsClientCrl }
    return await loadServerCredentials({ place, ...trust }, Date.now())
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error)
    findings.push({ level: 'bad', text: `certificate: ${words}` })
    return undefined
  }
}

/** What turns clients away, and until when each CRL is good. */
function clientFindings(trust: ClientTrust | undefined): readonly CertificateFinding[] {
  if (trust === undefined) return []
  const { crls, warnings } = trust.facts
  return [
    ...warnings.map((text) => ({ level: 'bad' as const, text: `client certificates: ${text}` })),
    ...crls.flatMap(({ path, issuer, nextUpdateMs }): CertificateFinding[] => {
      if (nextUpdateMs === undefined || nextUpdateMs <= Date.now()) return []
      const text = `client certificates: the CRL of ${issuer} in ${path} is good until ${day(nextUpdateMs)}`
      return [{ level: nextUpdateMs - Date.now() < DAY_MS ? 'note' : 'ok', text }]
    }),
  ]
}

function describe({ facts }: ServerCredentials): readonly CertificateFinding[] {
  const nowMs = Date.now()
  const leftMs = facts.notAfterMs - nowMs
  const isRefused = datesProblem(facts, nowMs) !== undefined
  const left = Math.floor(leftMs / DAY_MS)
  const days = leftMs < 0 ? 'expired' : `${left} ${left === 1 ? 'day' : 'days'}`
  const summary = `certificate: for ${facts.names.join(', ')}, valid until ${day(facts.notAfterMs)} (${days})`
  const links = facts.chain.map((link, at) => `${at + 1}  ${linkInWords(link)}`)
  const level = isRefused ? 'bad' : leftMs < SOON_MS ? 'note' : 'ok'
  return [
    { level, text: [summary, ...links].join('\n') },
    ...facts.warnings.map((text) => ({ level: 'note', text }) as const),
  ]
}

function linkInWords(link: X509Certificate): string {
  const dates = `${day(Date.parse(link.validFrom))} to ${day(Date.parse(link.validTo))}`
  const issuer = isSelfSigned(link) ? 'self-signed' : `by ${nameOf(link.issuer)}`
  return `${nameOf(link.subject)}, ${issuer}, ${dates}, ${keyInWords(link)}`
}

function keyInWords({ publicKey }: X509Certificate): string {
  const { namedCurve, modulusLength } = publicKey.asymmetricKeyDetails ?? {}
  const type = (publicKey.asymmetricKeyType ?? 'unknown').toUpperCase()
  return [type, namedCurve ?? modulusLength].filter((part) => part !== undefined).join(' ')
}

/** A handshake as a client of this machine would make it, by the first name that it could use. */
async function judge(
  credentials: ServerCredentials,
  { tlsDomain }: Config,
): Promise<CertificateFinding> {
  const [leaf] = credentials.facts.chain
  const host =
    tlsDomain.find((domain) => leaf !== undefined && isFor(leaf, domain)) ??
    credentials.facts.names
      .find((name) => name.startsWith('DNS:'))
      ?.slice('DNS:'.length)
      .replace('*', 'any') ??
    'localhost'
  const problem = await viewOfClient(credentials, host, systemCas()).then(
    (view) => view.problem,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  )
  if (problem === undefined) {
    const text = `certificate: a client that calls ${host} and knows this machine's CAs accepts it; the chain is complete`
    return { level: 'ok', text }
  }
  const verdict = Object.hasOwn(VERDICTS, problem) ? `: ${VERDICTS[problem]}` : ''
  // A CA of one's own is a choice, not a mistake.
  return {
    level: 'note',
    text: `certificate: a client that calls ${host} and knows this machine's CAs alone says ${problem}${verdict}`,
  }
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}
