/**
 * Unpacks an archive and judges it, in one pass: checksum of the whole against its seal, decryption,
 * then each file against the manifest. Nothing that it wrote may be used unless it resolves.
 */
import { once } from 'node:events'
import { mkdir, open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PassThrough, pipeline, type Readable } from 'node:stream'
import { createZstdDecompress } from 'node:zlib'
import { Parser, type ReadEntry } from 'tar'
import { decrypted } from './encryption.ts'
import { type FileEntry, type Manifest, parseManifest, type Seal } from './manifest.ts'
import { Meter } from './meter.ts'
import type { BackupName } from './names.ts'
import { MANIFEST } from './pack.ts'
import type { Settings } from './settings.ts'
import { said, Unusable } from './unusable.ts'

const MAX_MANIFEST_BYTES = 64 * 1024 * 1024
const ALLOWED = [
  /^prometheus\/[0-9A-HJKMNP-TV-Z]{26}\/(?:meta\.json|index|tombstones|chunks\/\d{6})$/,
  // No part of it is `.` or `..`, or empty.
  /^gateway\/(?!\.{1,2}\/)(?:[^/\\\0]+\/)*[^/\\\0]+$/,
]

/** Whether a file of this name may come out of an archive. */
export function isAllowed(path: string): boolean {
  const parts = path.split('/')
  return (
    path.length < 1000 &&
    parts.every((part) => part !== '' && part !== '.' && part !== '..') &&
    ALLOWED.some((pattern) => pattern.test(path))
  )
}

/** The two halves of a backup; the first part of a path in the archive. */
export const PARTS = ['prometheus', 'gateway'] as const
export type Part = (typeof PARTS)[number]

export interface UnpackOptions {
  readonly name: BackupName
  readonly seal: Seal
  readonly key: Pick<Settings, 'identity' | 'passphrase'>
  /** Where the parts go: empty directories. A part that is not named is judged, and not written. */
  readonly into: Readonly<Partial<Record<Part, string>>>
  readonly signal: AbortSignal
}

/**
 * @throws {Unusable} saying what is wrong with the archive; any other error is that of the place it
 * comes from or goes to.
 */
export async function unpack(archive: Readable, options: UnpackOptions): Promise<Manifest> {
  const { seal } = options
  const meter = new Meter()
  const feed = new PassThrough()
  let failure: { readonly error: unknown } | undefined
  const decoding = decode(feed, options).catch((error: unknown) => {
    failure = { error }
    feed.destroy()
    return undefined
  })
  // A decoder that has given up reads no more, but the checksum wants all: damage is told as damage.
  for await (const chunk of archive) {
    options.signal.throwIfAborted()
    meter.add(chunk)
    if (failure !== undefined || feed.destroyed) continue
    if (!feed.write(chunk))
      await Promise.race([once(feed, 'drain').catch(() => undefined), decoding])
  }
  feed.end()
  const manifest = await decoding
  judge(meter, seal)
  if (manifest === undefined) throw inWords(failure?.error)
  return manifest
}

/** @throws {Unusable} where what came is not what was sealed. */
function judge(meter: Meter, seal: Seal): void {
  const { archive, sizeBytes } = seal
  if (meter.bytes < sizeBytes)
    throw new Unusable(
      `${archive} is cut off: it has ${meter.bytes} bytes, and its seal says ${sizeBytes}`,
    )
  if (meter.bytes > sizeBytes)
    throw new Unusable(
      `${archive} is too long: it has ${meter.bytes} bytes, and its seal says ${sizeBytes}`,
    )
  const sha256 = meter.digest()
  if (sha256 !== seal.sha256)
    throw new Unusable(
      `${archive} is damaged: its SHA-256 is ${sha256}, and its seal says ${seal.sha256}`,
    )
}

function inWords(error: unknown): unknown {
  if (error instanceof Unusable) return error
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  // Of the disk that it is unpacked to.
  if (/^E[A-Z]+$/.test(code)) return error
  return new Unusable(`the archive cannot be unpacked: ${said(error)}`)
}

async function decode(feed: PassThrough, options: UnpackOptions): Promise<Manifest> {
  const { name, seal, key, into } = options
  const compressed = name.isEncrypted ? await decrypted(feed, key) : feed
  const plain = createZstdDecompress()
  pipeline(compressed, plain, () => {})
  const files = new Map<string, FileEntry>()
  let manifestText: string | undefined
  let bytes = 0
  const take = async (entry: ReadEntry) => {
    if (manifestText !== undefined) throw new Unusable(`${entry.path} comes after the manifest`)
    if (entry.path === MANIFEST) {
      manifestText = await textOf(entry)
      return
    }
    if (entry.type !== 'File' || !isAllowed(entry.path))
      throw new Unusable(
        `the archive holds ${JSON.stringify(entry.path)}, which is no part of a backup`,
      )
    if (files.has(entry.path)) throw new Unusable(`${entry.path} is in the archive twice`)
    bytes += entry.size
    if (bytes > seal.unpackedBytes)
      throw new Unusable(`the archive holds more than the ${seal.unpackedBytes} bytes of its seal`)
    files.set(entry.path, await write(entry, into))
  }
  await eachEntry(plain, take)
  if (manifestText === undefined)
    throw new Unusable('the archive is cut off: its manifest, the last entry, is missing')
  const manifest = parseManifest(manifestText)
  compare(manifest, files)
  return manifest
}

/** Entries one after the other; the next is read when `take` has resolved. */
async function eachEntry(
  tar: AsyncIterable<Uint8Array>,
  take: (entry: ReadEntry) => Promise<void>,
): Promise<void> {
  let taking: Promise<void> = Promise.resolve()
  let failure: { readonly error: unknown } | undefined
  const failed = Promise.withResolvers<void>()
  const fail = (error: unknown) => {
    failure ??= { error }
    failed.resolve()
  }
  const parser = new Parser({
    strict: true,
    onReadEntry: (entry) => {
      taking = taking
        .then(() => (failure === undefined ? take(entry) : undefined))
        .catch(fail)
        .finally(() => entry.resume())
    },
  })
  parser.on('error', fail)
  const ended = new Promise<void>((resolve) => parser.on('end', () => resolve()))
  for await (const chunk of tar) {
    if (failure !== undefined) break
    const isFlowing = parser.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length))
    if (!isFlowing) await Promise.race([once(parser, 'drain'), failed.promise])
  }
  if (failure === undefined) {
    parser.end()
    await Promise.race([ended, failed.promise])
  }
  await taking
  if (failure !== undefined) throw failure.error
}

async function write(entry: ReadEntry, into: UnpackOptions['into']): Promise<FileEntry> {
  const [part = '', ...rest] = entry.path.split('/')
  const isGateway = part === 'gateway'
  const directory = into[part as Part]
  const meter = new Meter()
  if (directory === undefined) for await (const _ of meter.over(entry));
  else {
    const path = join(directory, ...rest)
    await mkdir(dirname(path), { recursive: true, mode: isGateway ? 0o700 : 0o755 })
    const handle = await open(path, 'wx', isGateway ? (entry.mode ?? 0o600) & 0o777 : 0o644)
    try {
      for await (const chunk of meter.over(entry)) await handle.writeFile(chunk)
      if (entry.mtime !== undefined) await handle.utimes(entry.mtime, entry.mtime)
      await handle.sync()
    } finally {
      await handle.close()
    }
  }
  return { path: entry.path, sizeBytes: meter.bytes, sha256: meter.digest() }
}

async function textOf(entry: ReadEntry): Promise<string> {
  if (entry.size > MAX_MANIFEST_BYTES) throw new Unusable('the manifest is larger than 64 MiB')
  const chunks: Buffer[] = []
  for await (const chunk of entry) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

/** @throws {Unusable} where files and manifest differ, naming the first file that does. */
export function compare(manifest: Manifest, files: ReadonlyMap<string, FileEntry>): void {
  const listed = new Set<string>()
  for (const { path, sizeBytes, sha256 } of manifest.files) {
    listed.add(path)
    const found = files.get(path)
    if (found === undefined)
      throw new Unusable(
        `${path} is missing: the manifest lists it, and the archive does not hold it`,
      )
    if (found.sizeBytes !== sizeBytes || found.sha256 !== sha256)
      throw new Unusable(
        `${path} is not what the manifest says: ${found.sizeBytes} bytes with SHA-256 ${found.sha256}, expected ${sizeBytes} with ${sha256}`,
      )
  }
  for (const path of files.keys())
    if (!listed.has(path)) throw new Unusable(`${path} is in the archive, and not in its manifest`)
  const blocks = new Set(
    [...files.keys()].flatMap((path) => /^prometheus\/([^/]+)\/meta\.json$/.exec(path)?.[1] ?? []),
  )
  for (const { ulid } of manifest.blocks)
    if (!blocks.has(ulid)) throw new Unusable(`the block ${ulid} of the manifest is missing`)
  if (blocks.size !== manifest.blocks.length)
    throw new Unusable(
      `the archive has ${blocks.size} blocks, and its manifest ${manifest.blocks.length}`,
    )
}
