/**
 * Traefik's acme.json: for each resolver an account and its certificates, PEM in base64. It holds the
 * keys of every site of the machine; one entry is taken out, and the rest is let go of with the parse.
 */
import { X509Certificate } from 'node:crypto'
import { CertificateError, inShell } from './certificate-error.ts'
import { isFor } from './names.ts'
import { readBytes } from './pem.ts'

/** Some thousand certificates. */
const MAX_FILE_BYTES = 64 * 2 ** 20
/** Names of other certificates that a message tells. */
const MAX_TOLD = 5

/** A certificate with its chain, and its key, both PEM. */
export interface AcmePair {
  readonly cert: Buffer
  readonly key: Buffer
}

/**
 * Reads the certificate for a domain: of those whose names cover it and that are valid now the one
 * issued last. Throws a `CertificateError` where the file cannot be read, is half written, or has no such
 * certificate; it quotes nothing but names.
 */
export async function readAcmePair(
  path: string,
  domain: string,
  wallMs: number,
): Promise<AcmePair> {
  const bytes = await readBytes(path, MAX_FILE_BYTES).catch((error: unknown) => {
    throw error instanceof CertificateError ? withWayOut(path, error) : error
  })
  try {
    return pick(path, entriesOf(path, bytes), domain, wallMs)
  } finally {
    bytes.fill(0)
  }
}

/** Traefik keeps the file for root alone, and insists on it. */
function withWayOut(path: string, error: CertificateError): CertificateError {
  const { code } = (error.cause ?? {}) as NodeJS.ErrnoException
  if (code !== 'EACCES' && code !== 'EPERM') return error
  return new CertificateError(
    path,
    `cannot be read: it is for root alone (mode 0600), and Traefik wants it so. Have root write out just this certificate: tollgate cert extract --from ${inShell(path)} --domain NAME --to DIRECTORY --owner ${process.getuid?.() ?? 'UID'} --watch, and name the files there in TOLLGATE_TLS_CERT and TOLLGATE_TLS_KEY`,
    { cause: error.cause, look: `ls -lL ${inShell(path)}` },
  )
}

interface Entry {
  readonly leaf: X509Certificate
  readonly pair: AcmePair
}

function entriesOf(path: string, bytes: Buffer): readonly Entry[] {
  const file = inShell(path)
  let resolvers: unknown
  try {
    resolvers = JSON.parse(bytes.toString('utf8'))
  } catch {
    // The parser's own words quote the text, which is full of keys.
    const problem =
      bytes.length === 0
        ? 'is empty; Traefik writes it when it has its first certificate'
        : 'is not whole JSON; is it being written?'
    throw new CertificateError(path, problem, { look: `python3 -m json.tool ${file} >/dev/null` })
  }
  if (!isRecord(resolvers)) {
    throw new CertificateError(
      path,
      "is not Traefik's acme.json; expected an object of resolvers",
      {
        look: `head -c 32 ${file}`,
      },
    )
  }
  return Object.values(resolvers).flatMap((resolver) => {
    const list = isRecord(resolver) ? resolver.Certificates : undefined
    return Array.isArray(list) ? list.flatMap(entryOf) : []
  })
}

/** An entry that cannot be read is as good as none: it may be somebody else's. */
function entryOf(entry: unknown): Entry[] {
  if (!isRecord(entry)) return []
  const { certificate, key } = entry
  if (typeof certificate !== 'string' || typeof key !== 'string') return []
  try {
    const cert = Buffer.from(certificate, 'base64')
    return [{ leaf: new X509Certificate(cert), pair: { cert, key: Buffer.from(key, 'base64') } }]
  } catch {
    return []
  }
}

function pick(path: string, entries: readonly Entry[], domain: string, wallMs: number): AcmePair {
  const fitting = entries.filter(({ leaf }) => isFor(leaf, domain))
  const issuedMs = ({ leaf }: Entry) => Date.parse(leaf.validFrom)
  const isValid = ({ leaf }: Entry) =>
    Date.parse(leaf.validFrom) <= wallMs && wallMs < Date.parse(leaf.validTo)
  const [best] = fitting.toSorted(
    (a, b) => Number(isValid(b)) - Number(isValid(a)) || issuedMs(b) - issuedMs(a),
  )
  if (best !== undefined) return best.pair
  const names = [...new Set(entries.flatMap(({ leaf }) => leaf.subjectAltName?.split(', ') ?? []))]
  const told = names.slice(0, MAX_TOLD).join(', ') + (names.length > MAX_TOLD ? ', …' : '')
  const has = names.length === 0 ? 'it holds no certificate' : `it has ${told}`
  throw new CertificateError(
    path,
    `has no certificate for ${domain}: ${has}. Traefik asks for one only when a router names the host: traefik.http.routers.NAME.rule=Host(\`${domain}\`) with tls.certresolver`,
    { look: `grep -o '"main": *"[^"]*"' ${inShell(path)}` },
  )
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
