/** Certificates for tests: one CA a process, and server certificates under it. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Issued, issueCa, issueServer } from '../../src/tls/issue.ts'

const NAMES = ['localhost', '127.0.0.1', '::1']

let ca: Promise<Issued> | undefined

/** The CA that all server certificates of this process come from. */
export function testCa(): Promise<Issued> {
  ca ??= issueCa('Test CA', Date.now())
  return ca
}

/** Writes a new certificate with its key into a folder, as an operator's renewal would. */
export async function writeCertificate(
  folder: string,
): Promise<{ readonly certPath: string; readonly keyPath: string; readonly caPem: string }> {
  const signer = await testCa()
  const { cert, key } = await issueServer(signer, NAMES, Date.now())
  const certPath = join(folder, 'test.pem')
  const keyPath = join(folder, 'test.key')
  await writeFile(keyPath, key, { mode: 0o600 })
  await writeFile(certPath, cert)
  return { certPath, keyPath, caPem: signer.cert }
}
