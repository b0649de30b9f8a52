/** A place that copies are kept in. */
import type { Readable } from 'node:stream'
import type { Seal } from './manifest.ts'
import type { BackupName } from './names.ts'

export const TARGET_KINDS = ['local', 's3'] as const
export type TargetKind = (typeof TARGET_KINDS)[number]

/** A copy as a listing shows it. */
export interface Copy {
  readonly name: BackupName
  readonly sizeBytes: number
  /** Whether its seal is there. One without is half made, and counts for nothing. */
  readonly isWhole: boolean
}

/** What is to be kept. */
export interface Parcel {
  readonly name: BackupName
  /** What it takes when it is unpacked; about the most that the archive can take. */
  readonly unpackedBytes: number
  /** The bytes, from the beginning, each time it is called. */
  open(): Promise<Readable>
}

export interface Target {
  readonly kind: TargetKind
  /** For people: a folder, or `s3://bucket/prefix`. */
  readonly where: string
  /** The oldest first. */
  list(): Promise<readonly Copy[]>
  /** @throws {Unusable} where the copy has none, or it cannot be understood. */
  seal(name: BackupName): Promise<Seal>
  open(name: BackupName): Promise<Readable>
  /** Keeps a parcel whole or not at all: the seal appears last. @throws {StageFault} in words. */
  put(parcel: Parcel, signal: AbortSignal): Promise<Seal>
  /** The seal goes first, so that what is half removed does not count. */
  remove(name: BackupName): Promise<void>
  /** Takes away what killed runs left under way; says how many. Only while no other run is at work. */
  sweep(): Promise<number>
}

/** The newest whole copy of a listing. */
export function newest(copies: readonly Copy[]): Copy | undefined {
  return copies.filter(({ isWhole }) => isWhole).at(-1)
}

/** Orders a listing by age. */
export function byAge(one: Copy, other: Copy): number {
  return one.name.timeMs - other.name.timeMs
}
