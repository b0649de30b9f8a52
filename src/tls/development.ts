import { createPrivateKey, X509Certificate } from 'node:crypto'
import { chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { StateDirError } from './certificate-error.ts'
import type { Issued } from './issue.ts'
import { reasonOf } from './pem.ts'

const RENEW_BEFORE_MS = 30 * 24 * 3_600_000
const HOST_NAME = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,62})(?:\.[a-z0-9](?:[a-z0-9-]{0,62}))*$/i

/** Where the development certificate is, and what had to be made. */
export interface DevelopmentCertificate {
  /** What clients have to trust. */
  readonly caPath: string
  readonly certPath: string
  readonly keyPath: string
  /** `ca`: everything is new, and clients need the new `caPath`; `server`: renewed under the same CA. */
  readonly made: 'ca' | 'server' | 'nothing'
  readonly names: readonly string[]
}

export interface DevelopmentOptions {
  /** Made with mode 0700 if there is none. */
  readonly stateDir: string
  readonly wallMs: number
  /** The host's name, which goes into the certificate beside localhost, 127.0.0.1 and ::1. */
  readonly hostName?: string
}

/**
 * A certificate for a first try, for tests and for machines that know each other: a CA of its own in
 * the state directory and a server certificate under it. Both are used again next time; the server
 * certificate is renewed in its last 30 days and when the host's name has changed. Throws a
 * `StateDirError` where the directory cannot be used.
 */
export async function ensureDevelopmentCertificate({
  stateDir,
  wallMs,
  hostName = hostname(),
}: DevelopmentOptions): Promise<DevelopmentCertificate> {
  const names = namesFor(hostName)
  const at = (file: string) => join(stateDir, file)
  const paths = { caPath: at('ca.pem'), certPath: at('server.pem'), keyPath: at('server.key') }
  try {
    const ca = await readPair(paths.caPath, at('ca.key'))
    const caCert = ca?.cert ?? (await read(paths.caPath))
    const server = await readPair(paths.certPath, paths.keyPath)
    if (server !== undefined && isFit(server.cert, caCert, names, wallMs)) {
      return { ...paths, made: 'nothing', names }
    }
    const { issueCa, issueServer } = await import('./issue.ts')
    await prepare(stateDir)
    const isCaFit = ca !== undefined && hasTime(new X509Certificate(ca.cert), wallMs)
    const signer = isCaFit ? ca : await issueCa(`Tollgate development CA (${names[0]})`, wallMs)
    if (!isCaFit) await store(signer, paths.caPath, at('ca.key'))
    await store(await issueServer(signer, names, wallMs), paths.certPath, paths.keyPath)
    return { ...paths, made: isCaFit ? 'server' : 'ca', names }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error
    throw new StateDirError(
      stateDir,
      `cannot keep the development certificate here: ${reasonOf(error)}; expected a directory that this user may write (TOLLGATE_STATE_DIR), or a certificate of your own (TOLLGATE_TLS_CERT, TOLLGATE_TLS_KEY)`,
      { cause: error },
    )
  }
}

function namesFor(hostName: string): readonly string[] {
  const own = HOST_NAME.test(hostName) ? [hostName.toLowerCase()] : []
  return [...new Set([...own, 'localhost', '127.0.0.1', '::1'])]
}

/** Whether the certificate still serves: signed by this CA, for these names, and with time left. */
function isFit(
  cert: string,
  caCert: string | undefined,
  names: readonly string[],
  wallMs: number,
): boolean {
  const certificate = new X509Certificate(cert)
  const issuer = parse(caCert)
  return (
    issuer !== undefined &&
    certificate.checkIssued(issuer) &&
    certificate.verify(issuer.publicKey) &&
    hasTime(certificate, wallMs) &&
    hasTime(issuer, wallMs) &&
    names.every((name) =>
      name.includes(':') || /^[\d.]+$/.test(name)
        ? certificate.checkIP(name) !== undefined
        : certificate.checkHost(name) !== undefined,
    )
  )
}

function hasTime({ validFrom, validTo }: X509Certificate, wallMs: number): boolean {
  return Date.parse(validFrom) <= wallMs && wallMs < Date.parse(validTo) - RENEW_BEFORE_MS
}

/** A certificate with the key that belongs to it, or undefined where there is no such pair. */
async function readPair(certPath: string, keyPath: string): Promise<Issued | undefined> {
  const cert = await read(certPath)
  const key = await read(keyPath)
  const certificate = parse(cert)
  if (cert === undefined || key === undefined || certificate === undefined) return undefined
  try {
    return certificate.checkPrivateKey(createPrivateKey(key)) ? { cert, key } : undefined
  } catch {
    return undefined
  }
}

function parse(cert: string | undefined): X509Certificate | undefined {
  try {
    return cert === undefined ? undefined : new X509Certificate(cert)
  } catch {
    return undefined
  }
}

async function read(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'latin1')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

async function prepare(stateDir: string): Promise<void> {
  const made = await mkdir(stateDir, { recursive: true, mode: 0o700 })
  if (made === undefined) return
  // What the umask took from the owner comes back; and private keys stay out of everybody's commits.
  await chmod(stateDir, 0o700)
  await writeFile(join(stateDir, '.gitignore'), '*\n', { mode: 0o600 })
}

/** The key first: a reader that meets a new key with the old certificate keeps what it has and looks again. */
async function store({ cert, key }: Issued, certPath: string, keyPath: string): Promise<void> {
  await replace(keyPath, key)
  await replace(certPath, cert)
}

async function replace(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`
  try {
    await writeFile(temporary, text, { mode: 0o600, flush: true })
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {})
    throw error
  }
}
