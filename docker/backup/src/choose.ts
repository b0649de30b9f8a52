/** Which backup a command means. */
import { type BackupName, parseName } from './names.ts'
import { newest, type Target, type TargetKind } from './target.ts'
import { Unusable } from './unusable.ts'

/** The target of this kind, or the first. @throws {Unusable} where it is not set up. */
export function chooseTarget(targets: readonly Target[], kind: TargetKind | undefined): Target {
  const target = kind === undefined ? targets[0] : targets.find((each) => each.kind === kind)
  if (target !== undefined) return target
  const setting = kind === 's3' ? 'TOLLGATE_BACKUP_S3_BUCKET' : 'TOLLGATE_BACKUP_DIR'
  throw new Unusable(`no ${kind ?? 'target'} is set up: set ${setting}`)
}

/** The backup of this name; the newest whole one for `latest`. @throws {Unusable} where there is none. */
export async function chooseBackup(target: Target, wanted: string): Promise<BackupName> {
  if (wanted !== 'latest') {
    const name = parseName(wanted)
    if (name !== undefined) return name
    throw new Unusable(`${JSON.stringify(wanted)} is no name of a backup: see tollgate-backup list`)
  }
  const copy = newest(await target.list())
  if (copy === undefined) throw new Unusable(`there is no whole backup in ${target.where}`)
  return copy.name
}
