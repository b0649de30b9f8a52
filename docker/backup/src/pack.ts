/**
 * Makes an archive in one pass: tar, zstd, age. Each file is read once and digested on the way; the
 * manifest with the digests is the last entry, so that an archive that was cut off has none.
 */
import { pipeline, Readable } from 'node:stream'
import { constants, createZstdCompress } from 'node:zlib'
import { Header, type HeaderData, Pax } from 'tar'
import { encrypted, isEncrypting } from './encryption.ts'
import type { FileEntry } from './manifest.ts'
import { Meter } from './meter.ts'
import type { Settings } from './settings.ts'

/** The name of the last entry. */
export const MANIFEST = 'manifest.json'
const BLOCK_BYTES = 512

/** Something to be put into an archive. */
export interface Source {
  /** In the archive. */
  readonly path: string
  readonly sizeBytes: number
  readonly mode: number
  readonly modifiedMs: number
  /** Its content: exactly so many bytes. */
  read(): AsyncIterable<Uint8Array>
}

/**
 * The bytes of an archive, as fast as they are taken. It fails where a source does, or is of another
 * length than it said. `manifestOf` gets what was read, and gives the text of the manifest.
 */
export async function pack(
  sources: readonly Source[],
  manifestOf: (files: readonly FileEntry[]) => string,
  lock: Pick<Settings, 'recipients' | 'passphrase'>,
): Promise<Readable> {
  const tar = Readable.from(tarOf(sources, manifestOf), { objectMode: false })
  const zstd = createZstdCompress({
    params: {
      [constants.ZSTD_c_compressionLevel]: 3,
      [constants.ZSTD_c_checksumFlag]: 1,
    },
  })
  // Who reads the last of them learns of the error; there is nobody else to be told.
  pipeline(tar, zstd, () => {})
  return isEncrypting(lock) ? await encrypted(zstd, lock) : zstd
}

async function* tarOf(
  sources: readonly Source[],
  manifestOf: (files: readonly FileEntry[]) => string,
): AsyncGenerator<Uint8Array> {
  const files: FileEntry[] = []
  for (const source of sources) {
    const { path, sizeBytes } = source
    yield headerOf(source)
    const meter = new Meter()
    for await (const chunk of meter.over(source.read())) {
      if (meter.bytes > sizeBytes) throw new Error(`${path} has grown while it was read`)
      yield chunk
    }
    if (meter.bytes < sizeBytes) throw new Error(`${path} has shrunk while it was read`)
    yield padding(sizeBytes)
    files.push({ path, sizeBytes, sha256: meter.digest() })
  }
  const manifest = Buffer.from(manifestOf(files))
  const sizeBytes = manifest.length
  yield headerOf({ path: MANIFEST, sizeBytes, mode: 0o600, modifiedMs: Date.now() })
  yield manifest
  yield padding(sizeBytes)
  yield Buffer.alloc(2 * BLOCK_BYTES)
}

function headerOf({ path, sizeBytes, mode, modifiedMs }: Omit<Source, 'read'>): Buffer {
  const data: HeaderData = {
    ...{ path, mode, size: sizeBytes, mtime: new Date(modifiedMs), type: 'File' },
    ...{ uid: 0, gid: 0, uname: '', gname: '' },
  }
  const block = Buffer.alloc(BLOCK_BYTES)
  const needsPax = new Header(data).encode(block, 0)
  return needsPax ? Buffer.concat([new Pax(data).encode(), block]) : block
}

function padding(sizeBytes: number): Buffer {
  return Buffer.alloc((BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES)
}
