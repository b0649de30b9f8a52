/**
 * What a backup says of itself. The manifest lies inside the archive, as its last entry, and is as
 * secret as the rest of it. The seal lies beside it, readable by everybody, and holds sizes and a
 * checksum alone.
 */
import { Unusable } from './unusable.ts'

/** One file of an archive. */
export interface FileEntry {
  /** `prometheus/<ULID>/index`, `gateway/tokens.json`. */
  readonly path: string
  readonly sizeBytes: number
  /** Hexadecimal. */
  readonly sha256: string
}

/** A block of Prometheus, from its meta.json. Times are Unix milliseconds, the end exclusive. */
export interface BlockEntry {
  readonly ulid: string
  readonly minTimeMs: number
  readonly maxTimeMs: number
  readonly series: number
  readonly samples: number
  readonly chunks: number
}

/** A question to Prometheus, and what it said when the backup was made. */
export interface Check {
  readonly query: string
  /** Unix time in milliseconds at which it is asked. */
  readonly timeMs: number
  /** One value for each label set, written as JSON. */
  readonly results: readonly { readonly labels: string; readonly value: number }[]
}

export interface Manifest {
  readonly version: 1
  readonly tool: string
  /** ISO 8601. */
  readonly createdAt: string
  readonly prometheusVersion: string
  readonly blocks: readonly BlockEntry[]
  readonly files: readonly FileEntry[]
  readonly checks: readonly Check[]
  readonly totals: {
    readonly files: number
    readonly bytes: number
    readonly samples: number
  }
  /** Whether the gateway's state is part of it. */
  readonly hasGateway: boolean
}

export interface Seal {
  readonly version: 1
  readonly archive: string
  readonly sizeBytes: number
  /** Of the archive as it lies there, hexadecimal. */
  readonly sha256: string
  /** What it takes when it is unpacked. */
  readonly unpackedBytes: number
}

/** @throws {Unusable} for a text that is no seal of this archive. */
export function parseSeal(text: string, archive: string): Seal {
  const seal = parsed(text) as Partial<Seal> | undefined
  const isRight =
    seal?.version === 1 &&
    seal.archive === archive &&
    isCount(seal.sizeBytes) &&
    isCount(seal.unpackedBytes) &&
    isDigest(seal.sha256)
  if (!isRight) throw new Unusable(`${archive}.json is not the seal of ${archive}`)
  return seal as Seal
}

/** @throws {Unusable} for a text that is no manifest, or one of a newer version. */
export function parseManifest(text: string): Manifest {
  const manifest = parsed(text) as Partial<Manifest> | undefined
  if (typeof manifest?.version === 'number' && manifest.version > 1)
    throw new Unusable(
      `the manifest has version ${manifest.version}, and this tool knows 1: use a newer one`,
    )
  const isRight =
    manifest?.version === 1 &&
    typeof manifest.createdAt === 'string' &&
    typeof manifest.prometheusVersion === 'string' &&
    typeof manifest.hasGateway === 'boolean' &&
    isListOf(
      manifest.files,
      (file: Partial<FileEntry>) =>
        typeof file.path === 'string' && isCount(file.sizeBytes) && isDigest(file.sha256),
    ) &&
    isListOf(
      manifest.blocks,
      (block: Partial<BlockEntry>) =>
        typeof block.ulid === 'string' &&
        [block.minTimeMs, block.maxTimeMs, block.series, block.samples].every(Number.isFinite),
    ) &&
    isListOf(
      manifest.checks,
      (check: Partial<Check>) =>
        typeof check.query === 'string' &&
        Number.isFinite(check.timeMs) &&
        Array.isArray(check.results),
    )
  if (!isRight) throw new Unusable('the manifest in the archive cannot be read')
  return manifest as Manifest
}

function parsed(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

function isListOf(value: unknown, isRight: (item: never) => boolean): boolean {
  return (
    Array.isArray(value) &&
    value.every((item) => typeof item === 'object' && item !== null && isRight(item as never))
  )
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0
}

function isDigest(value: unknown): boolean {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)
}
