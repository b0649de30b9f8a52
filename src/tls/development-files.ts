/** The files of development certificates: read as pairs, and replaced whole. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { chmod, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Issued } from './issue.ts'
import { makeDirectory } from './make-directory.ts'

/** A CA in its last 30 days is not used any more: what it signs would hardly live. */
const CA_MARGIN_MS = 30 * 24 * 3_600_000

/** A certificate with the key that belongs to it, or undefined where there is no such pair. */
export async function readPair(certPath: string, keyPath: string): Promise<Issued | undefined> {
  const cert = await read(certPath)
  const key = await read(keyPath)
  const certificate = parseCertificate(cert)
  if (cert === undefined || key === undefined || certificate === undefined) return undefined
  try {
    return certificate.checkPrivateKey(createPrivateKey(key)) ? { cert, key } : undefined
  } catch {
    return undefined
  }
}

/** A certificate, or undefined for what is none. */
export function parseCertificate(cert: string | undefined): X509Certificate | undefined {
  try {
    return cert === undefined ? undefined : new X509Certificate(cert)
  } catch {
    return undefined
  }
}

/** The text of a file, or undefined where there is none. */
export async function read(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'latin1')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Makes the directory, with mode 0700 and out of everybody's commits, if there is none. */
export async function prepare(directory: string): Promise<void> {
  if (!(await makeDirectory(directory))) return
  // What the umask took from the owner comes back.
  await chmod(directory, 0o700)
  await writeFile(join(directory, '.gitignore'), '*\n', { mode: 0o600 })
}

/** The key first: a reader that meets a new key with the old certificate keeps what it has and looks again. */
export async function store(
  { cert, key }: Issued,
  certPath: string,
  keyPath: string,
  certMode = 0o600,
): Promise<void> {
  await replace(keyPath, key, 0o600)
  await replace(certPath, cert, certMode)
}

async function replace(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`
  try {
    await writeFile(temporary, text, { mode, flush: true })
    // Whatever the umask says: a key is for its owner, and a certificate is for all.
    await chmod(temporary, mode)
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {})
    throw error
  }
}

/** Whether it was signed by this CA. */
export function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
}

/** From when on a certificate is to be renewed, Unix time in milliseconds: with a third of its life left. */
export function dueMsOf({ validFrom, validTo }: X509Certificate): number {
  const endMs = Date.parse(validTo)
  return endMs - (endMs - Date.parse(validFrom)) / 3
}

/** Whether a certificate is valid and not due yet. */
export function isFresh(certificate: X509Certificate, wallMs: number): boolean {
  return Date.parse(certificate.validFrom) <= wallMs && wallMs < dueMsOf(certificate)
}

/** Whether a CA may go on signing. */
export function canSign({ validFrom, validTo }: X509Certificate, wallMs: number): boolean {
  return Date.parse(validFrom) <= wallMs && wallMs < Date.parse(validTo) - CA_MARGIN_MS
}
