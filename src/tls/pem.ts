/** Files with certificates and keys: read, and taken apart into their PEM blocks. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { CertificateError, inShell } from './certificate-error.ts'

/** Larger files are not read: no certificate, key or CA bundle comes near it. */
const MAX_FILE_BYTES = 4 * 2 ** 20
const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g
/** ASN.1 SEQUENCE, which every DER file begins with. */
const SEQUENCE = 0x30

/** One block of a PEM file (RFC 7468). */
export interface PemBlock {
  /** What stands after BEGIN: `CERTIFICATE`, `PRIVATE KEY`, … */
  readonly label: string
  readonly text: string
}

/** Reads a PEM file. Throws a `CertificateError` where it cannot be read or holds no block. */
export async function readPem(path: string): Promise<readonly PemBlock[]> {
  return blocksOf(path, await readBytes(path, MAX_FILE_BYTES))
}

/** The bytes of a file. Throws a `CertificateError` where it cannot be read or is too large. */
export async function readBytes(path: string, maxBytes: number): Promise<Buffer> {
  try {
    const bytes = await readFile(path)
    if (bytes.length > maxBytes) throw new Error(`it is larger than ${maxBytes / 2 ** 20} MiB`)
    return bytes
  } catch (error) {
    throw new CertificateError(path, `cannot be read: ${reasonOf(error)}`, {
      cause: error,
      look: `ls -lLd ${inShell(path)}`,
    })
  }
}

/**
 * The PEM blocks in these bytes, whatever stands around them: text, CRLF, a byte order mark. Throws a
 * `CertificateError` that says what the file is instead.
 */
export function blocksOf(path: string, bytes: Buffer): readonly PemBlock[] {
  // Windows' older editors save UTF-16.
  const isWide = bytes[0] === 0xff && bytes[1] === 0xfe
  const text = bytes.toString(isWide ? 'utf16le' : 'latin1')
  const blocks = Array.from(text.matchAll(BLOCK), ([block, label]) => ({
    label: label ?? '',
    text: block.replaceAll('\r', ''),
  }))
  if (blocks.length === 0) throw notPem(path, bytes, text)
  return blocks
}

function notPem(path: string, bytes: Buffer, text: string): CertificateError {
  const file = inShell(path)
  const look = `head -c 64 ${file} | od -c | head`
  if (text.trim() === '') {
    return new CertificateError(path, 'is empty; expected -----BEGIN …-----', {
      look: `ls -lL ${file}`,
    })
  }
  if (bytes[0] === SEQUENCE) return isDer(path, bytes)
  const [, begun] = /-----BEGIN ([A-Z0-9 ]+)-----/.exec(text) ?? []
  return begun === undefined
    ? new CertificateError(path, 'holds no PEM block; expected -----BEGIN …-----', { look })
    : new CertificateError(path, `begins a ${begun} that does not end; the file is cut off`, {
        look: `tail -n 3 ${file}`,
      })
}

/** Nobody names a file by its encoding, so the message brings the command that changes it. */
function isDer(path: string, bytes: Buffer): CertificateError {
  const file = inShell(path)
  const said = (what: string, look: string) =>
    new CertificateError(path, `is ${what} in DER; expected PEM`, { look })
  if (isGood(() => new X509Certificate(bytes))) {
    return said('a certificate', `openssl x509 -inform DER -in ${file} (its output is the PEM)`)
  }
  for (const type of ['pkcs8', 'pkcs1', 'sec1'] as const) {
    if (isGood(() => createPrivateKey({ key: bytes, format: 'der', type }))) {
      return said('a private key', `openssl pkey -inform DER -in ${file} -noout -text_pub`)
    }
  }
  return said(
    'something, most likely a PKCS #12 bundle,',
    `openssl pkcs12 -in ${file} -nodes (its output is the PEM)`,
  )
}

function isGood(tryIt: () => unknown): boolean {
  try {
    tryIt()
    return true
  } catch {
    return false
  }
}

/** The certificates among the blocks, in their order. Throws a `CertificateError` for one that cannot be read. */
export function certificatesOf(path: string, blocks: readonly PemBlock[]): X509Certificate[] {
  return blocks
    .filter(({ label }) => label === 'CERTIFICATE' || label === 'X509 CERTIFICATE')
    .map(({ text }, at) => {
      try {
        return new X509Certificate(text)
      } catch (error) {
        throw new CertificateError(path, `certificate ${at + 1} is damaged`, {
          cause: error,
          look: `openssl crl2pkcs7 -nocrl -certfile ${inShell(path)} | openssl pkcs7 -print_certs -noout`,
        })
      }
    })
}

/** What the blocks are, each kind once, for messages. */
export function labelsOf(blocks: readonly PemBlock[]): string {
  return [...new Set(blocks.map(({ label }) => label))].join(', ')
}

/** Why a file could not be read or written, in words. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOENT') return 'there is no such file'
  if (code === 'EACCES' || code === 'EPERM') return `user ${process.getuid?.() ?? ''} may not`
  if (code === 'EISDIR') return 'it is a directory'
  if (code === 'ENOTDIR') return 'a part of the path is a file'
  if (code === 'ELOOP') return 'its symbolic links go round in a circle'
  if (code === 'EROFS') return 'the file system is read-only'
  if (code === 'ENOSPC') return 'the disk is full'
  return message
}
