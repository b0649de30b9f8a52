/** Proves that a backup can be restored, by restoring it to the side. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { World } from './backup.ts'
import type { Manifest } from './manifest.ts'
import type { BackupName } from './names.ts'
import { examine, type Findings } from './scratch-prometheus.ts'
import type { Target } from './target.ts'
import { unpack } from './unpack.ts'
import { addStatus, withScratch } from './work.ts'

export interface Verified {
  readonly manifest: Manifest
  readonly findings: Findings
}

/**
 * Checksum, decryption, every file against the manifest, and a Prometheus that reads every sample.
 *
 * @throws {Unusable} saying what is wrong with the backup; other errors are of the place it is in, or
 * of this machine.
 */
export async function verify(world: World, target: Target, name: BackupName): Promise<Verified> {
  const { settings, signal, log } = world
  const seal = await target.seal(name)
  const verified = await withScratch(
    settings.workDirectory,
    seal.unpackedBytes,
    async (scratch) => {
      const into = { prometheus: join(scratch, 'prometheus'), gateway: join(scratch, 'gateway') }
      await mkdir(into.prometheus)
      await mkdir(into.gateway, { mode: 0o700 })
      const archive = await target.open(name)
      const manifest = await unpack(archive, { name, seal, key: settings, into, signal })
      const findings = await examine(into.prometheus, manifest, {
        ...{ program: settings.prometheusProgram, beside: join(scratch, 'look'), signal },
      })
      return { manifest, findings }
    },
  )
  await addStatus(settings.workDirectory, { lastVerifyMs: Date.now() })
  log.info({ target: target.kind, archive: name.archive, ...verified.findings }, 'backup verified')
  return verified
}
