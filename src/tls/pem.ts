import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { CertificateError } from './certificate-error.ts'

/** Larger files are not read: no certificate, key or CA bundle comes near it. */
const MAX_FILE_BYTES = 4 * 2 ** 20
const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g

/** One block of a PEM file (RFC 7468). */
export interface PemBlock {
  /** What stands after BEGIN: `CERTIFICATE`, `PRIVATE KEY`, … */
  readonly label: string
  readonly text: string
}

/** Reads a PEM file. Throws a `CertificateError` where it cannot be read or holds no block. */
export async function readPem(path: string): Promise<readonly PemBlock[]> {
  let text: string
  try {
    const bytes = await readFile(path)
    if (bytes.length > MAX_FILE_BYTES) throw new Error('it is larger than 4 MiB')
    text = bytes.toString('latin1')
  } catch (error) {
    throw new CertificateError(path, `cannot be read: ${reasonOf(error)}`, { cause: error })
  }
  const blocks = Array.from(text.matchAll(BLOCK), ([block, label]) => ({
    label: label ?? '',
    text: block,
  }))
  if (blocks.length === 0) {
    throw new CertificateError(path, 'holds no PEM block; expected -----BEGIN …-----')
  }
  return blocks
}

/** The certificates among the blocks, in their order. Throws a `CertificateError` for one that cannot be read. */
export function certificatesOf(path: string, blocks: readonly PemBlock[]): X509Certificate[] {
  return blocks
    .filter(({ label }) => label === 'CERTIFICATE' || label === 'X509 CERTIFICATE')
    .map(({ text }, at) => {
      try {
        return new X509Certificate(text)
      } catch (error) {
        throw new CertificateError(path, `certificate ${at + 1} is damaged`, { cause: error })
      }
    })
}

/** Why a file could not be read or written, in words. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOENT') return 'there is no such file'
  if (code === 'EACCES' || code === 'EPERM') return `user ${process.getuid?.() ?? ''} may not`
  if (code === 'EISDIR') return 'it is a directory'
  if (code === 'ENOTDIR') return 'a part of the path is a file'
  if (code === 'EROFS') return 'the file system is read-only'
  if (code === 'ENOSPC') return 'the disk is full'
  return message
}
