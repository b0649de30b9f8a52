/** How archives are called. The name says when a backup was made, and how it is to be read. */

/** A backup by its name. */
export interface BackupName {
  /** `tollgate-20261130T031500Z.tar.zst`, and `.age` behind it where it is encrypted. */
  readonly archive: string
  /** When it was begun, Unix time in milliseconds, whole seconds. */
  readonly timeMs: number
  readonly isEncrypted: boolean
}

const PATTERN = /^tollgate-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z\.tar\.zst(\.age)?$/
/** Ends the name of the file beside an archive that makes it count as whole. */
const SEAL = '.json'

/** The name of a backup that is begun now. */
export function nameAt(timeMs: number, isEncrypted: boolean): BackupName {
  const stamp = compact(timeMs)
  const archive = `tollgate-${stamp}.tar.zst${isEncrypted ? '.age' : ''}`
  return { archive, timeMs: Math.floor(timeMs / 1000) * 1000, isEncrypted }
}

/** `20261130T031500Z`. */
export function compact(timeMs: number): string {
  return new Date(timeMs).toISOString().replace(/\.\d+/, '').replace(/[-:]/g, '')
}

/** Undefined for a name that is none of ours. */
export function parseName(archive: string): BackupName | undefined {
  const [whole, year, month, day, hour, minute, second, age] = PATTERN.exec(archive) ?? []
  if (whole === undefined) return undefined
  const timeMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  return Number.isNaN(timeMs) ? undefined : { archive, timeMs, isEncrypted: age !== undefined }
}

/** The name of the seal of an archive. */
export function sealOf(archive: string): string {
  return `${archive}${SEAL}`
}

/** The archive that a seal is of; undefined for other names. */
export function sealedBy(name: string): BackupName | undefined {
  return name.endsWith(SEAL) ? parseName(name.slice(0, -SEAL.length)) : undefined
}
