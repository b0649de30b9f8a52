/** The drill with the backup tool as it lies in docker/backup, beside bare processes. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { runToEnd } from '../../test/support/child.ts'
import { findTool, ROOT } from '../../test/support/tools.ts'
import type { BackupDrill } from './target.ts'

const MAIN = join(ROOT, 'docker/backup/src/main.ts')

/** Undefined where the tool or the program it verifies with is not there. */
export function bareBackup(
  folder: string,
  prometheus: string,
  gatewayFolder: string,
): BackupDrill | undefined {
  const binary = findTool('prometheus')
  if (!existsSync(MAIN) || binary === undefined) return undefined
  const env = {
    TOLLGATE_BACKUP_DIR: join(folder, 'backups'),
    TOLLGATE_BACKUP_WORK_DIR: join(folder, 'backup-work'),
    TOLLGATE_BACKUP_PROMETHEUS_URL: `http://${prometheus}`,
    TOLLGATE_BACKUP_PROMETHEUS_DIR: join(folder, 'prometheus'),
    TOLLGATE_BACKUP_PROMETHEUS_BINARY: binary,
    TOLLGATE_BACKUP_GATEWAY_DIR: gatewayFolder,
  }
  return {
    byHand: 'tollgate-backup backup && tollgate-backup verify',
    async run() {
      const steps: string[] = []
      for (const command of ['backup', 'verify']) {
        const args = ['--disable-warning=ExperimentalWarning', MAIN, command]
        const said = await runToEnd(process.execPath, args, {
          env: { ...process.env, ...env },
          timeoutMs: 120_000,
        })
        if (said.code !== 0)
          throw new Error(`${command} ended with ${said.code}: ${said.stderr.slice(-500)}`)
        steps.push(said.stdout.trim().split('\n').at(-1) ?? '')
      }
      return steps
    },
  }
}
