import { X509Certificate } from 'node:crypto'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { StateDirError } from './certificate-error.ts'
import {
  canSign,
  dueMsOf,
  isFresh,
  isSignedBy,
  parseCertificate,
  prepare,
  read,
  readPair,
  store,
} from './development-files.ts'
import { namesFor } from './development-names.ts'
import { reasonOf } from './pem.ts'

/** 2.5.29.30. What makes certificates is loaded only where it is needed. */
const NAME_CONSTRAINTS_DER = Buffer.from('0603551d1e', 'hex')

/** Where the development certificate is, and what had to be made. */
export interface DevelopmentCertificate {
  /** What clients have to trust. */
  readonly caPath: string
  readonly certPath: string
  readonly keyPath: string
  /** `ca`: everything is new, and clients need the new `caPath`; `server`: renewed under the same CA. */
  readonly made: 'ca' | 'server' | 'nothing'
  readonly names: readonly string[]
  /** When the server's certificate is to be renewed, Unix time in milliseconds. */
  readonly dueMs: number
}

export interface DevelopmentOptions {
  /** Made with mode 0700 if there is none. */
  readonly stateDir: string
  readonly wallMs: number
  /** The host's name, which goes into the certificate beside localhost, 127.0.0.1 and ::1. */
  readonly hostName?: string
  /** `never` while a gateway runs: all its clients trust the CA that is there. Default `ifNeeded`. */
  readonly newCa?: 'ifNeeded' | 'never'
  /** How long the server's certificate lives. Default and at most 396 days. */
  readonly lifeMs?: number
}

/**
 * A certificate for a first try, for tests and for machines that know each other: a CA of its own in
 * the state directory and a server certificate under it. Both are used again next time; the server
 * certificate is renewed in the last third of its life and when the host's name has changed. The CA
 * may sign for any name: the host name of a container is another one at each start, and a CA that
 * is limited to one name would have to be replaced with it. Throws a `StateDirError` where the
 * directory cannot be used, or where a new CA is needed and may not be made.
 */
export async function ensureDevelopmentCertificate({
  stateDir,
  wallMs,
  hostName = hostname(),
  newCa = 'ifNeeded',
  lifeMs,
}: DevelopmentOptions): Promise<DevelopmentCertificate> {
  const at = (file: string) => join(stateDir, file)
  const paths = { caPath: at('ca.pem'), certPath: at('server.pem'), keyPath: at('server.key') }
  try {
    const ca = await readPair(paths.caPath, at('ca.key'))
    const caCert = ca?.cert ?? (await read(paths.caPath))
    const names = await permittedOf(namesFor(hostName), caCert)
    const server = await readPair(paths.certPath, paths.keyPath)
    if (server !== undefined && isFit(server.cert, caCert, names, wallMs)) {
      return { ...paths, made: 'nothing', names, dueMs: dueMsOf(new X509Certificate(server.cert)) }
    }
    const { issueCa, issueServer } = await import('./issue.ts')
    await prepare(stateDir)
    const isCaFit = ca !== undefined && canSign(new X509Certificate(ca.cert), wallMs)
    if (!isCaFit && newCa === 'never') throw noCa(stateDir, ca?.cert)
    const signer = isCaFit ? ca : await issueCa(`Tollgate development CA (${names[0]})`, wallMs)
    if (!isCaFit) await store(signer, paths.caPath, at('ca.key'))
    const issued = await issueServer(signer, names, wallMs, lifeMs)
    await store(issued, paths.certPath, paths.keyPath)
    const dueMs = dueMsOf(new X509Certificate(issued.cert))
    return { ...paths, made: isCaFit ? 'server' : 'ca', names, dueMs }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error
    throw new StateDirError(
      stateDir,
      `cannot keep the development certificate here: ${reasonOf(error)}; expected a directory that this user may write (TOLLGATE_STATE_DIR), or a certificate of your own (TOLLGATE_TLS_CERT, TOLLGATE_TLS_KEY)`,
      { cause: error },
    )
  }
}

/** Without the names that a CA of `tollgate cert dev` is not for. */
async function permittedOf(
  names: readonly string[],
  caCert: string | undefined,
): Promise<readonly string[]> {
  const isLimited = parseCertificate(caCert)?.raw.includes(NAME_CONSTRAINTS_DER) ?? false
  if (caCert === undefined || !isLimited) return names
  const [{ permittedBy }, { isPermitted }] = await Promise.all([
    import('./issue.ts'),
    import('./name-constraints.ts'),
  ])
  const permitted = permittedBy(caCert)
  return permitted === undefined ? names : names.filter((name) => isPermitted(name, permitted))
}

/** Without the CA's key nothing can be renewed, and a new CA is nothing to do behind anybody's back. */
function noCa(stateDir: string, cert: string | undefined): StateDirError {
  const why =
    cert === undefined
      ? 'ca.pem with its ca.key is not here any more'
      : `the CA in ca.pem ends on ${new X509Certificate(cert).validTo}`
  return new StateDirError(
    stateDir,
    `cannot renew the development certificate: ${why}; put the files back, or restart the gateway for a new CA, and give its ca.pem to all clients`,
  )
}

/** Whether the certificate still serves: signed by this CA, for these names, and with time left. */
function isFit(
  cert: string,
  caCert: string | undefined,
  names: readonly string[],
  wallMs: number,
): boolean {
  const certificate = new X509Certificate(cert)
  const issuer = parseCertificate(caCert)
  return (
    issuer !== undefined &&
    isSignedBy(certificate, issuer) &&
    isFresh(certificate, wallMs) &&
    canSign(issuer, wallMs) &&
    names.every((name) =>
      name.includes(':') || /^[\d.]+$/.test(name)
        ? certificate.checkIP(name) !== undefined
        : certificate.checkHost(name) !== undefined,
    )
  )
}
