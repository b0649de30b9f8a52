/** What can be seen and done inside of a set-up of bare processes. */
import { readFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { runTollgate } from '../../test/support/run-command.ts'
import type { Gateway } from '../../test/support/spawn-gateway.ts'
import { bareBackup } from './bare-backup.ts'
import { bansIn, queryOver } from './inside-answers.ts'
import type { Inside, Usage } from './target.ts'

const MIB = 1024 * 1024
/** The limits of the compose file for a VPS of 2 GB. */
const LIMITS: Readonly<Record<string, number>> = {
  gateway: 256 * MIB,
  collector: 512 * MIB,
  prometheus: 512 * MIB,
}
const MEASURED_MS = 1_000
const TICKS_PER_SECOND = 100

export interface BareParts {
  readonly folder: string
  readonly gateway: Gateway
  readonly pids: Readonly<Record<string, number>>
  /** `host:port`. */
  readonly prometheus: string
  readonly collectorGrpc: string
  readonly secrets: readonly string[]
  readonly startUnlimited: () => Promise<Gateway>
}

export function bareInside(parts: BareParts): Inside {
  const { folder, gateway, pids, prometheus, collectorGrpc, secrets } = parts
  const env = { TOLLGATE_STATE_DIR: gateway.folder }
  return {
    query: (expr) => queryOver(`http://${prometheus}`, expr),
    queryByHand: (expr) => `promtool query instant http://${prometheus} '${expr}'`,
    usage: () => Promise.all(Object.entries(pids).map(([name, pid]) => usageOf(name, pid))),
    usageByHand: `ps -o pid,rss,pcpu,args -p ${Object.values(pids).join(',')}`,
    async bans() {
      const { code, stdout, stderr } = await runTollgate(['bans', 'list', '--json'], env)
      if (code !== 0) throw new Error(`tollgate bans list: ${stderr}`)
      return bansIn(stdout)
    },
    async lift(address) {
      const { code, stderr } = await runTollgate(['bans', 'lift', address], env)
      if (code !== 0) throw new Error(`tollgate bans lift: ${stderr}`)
    },
    collectorGrpc,
    unlimited: async () => {
      const other = await parts.startUnlimited()
      return { grpc: other.grpc, stop: () => other[Symbol.asyncDispose]() }
    },
    secrets,
    backup: bareBackup(folder, prometheus, gateway.folder),
  }
}

/** Resident memory, and processor time over a second. */
async function usageOf(name: string, pid: number): Promise<Usage> {
  const before = await ticksOf(pid)
  await pause(MEASURED_MS)
  const seconds = ((await ticksOf(pid)) - before) / TICKS_PER_SECOND
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(status) ?? []
  if (kib === undefined) throw new Error(`/proc/${pid}/status does not tell the memory of ${name}`)
  return {
    name,
    memoryBytes: Number(kib) * 1024,
    memoryLimitBytes: LIMITS[name],
    cpuPercent: (seconds / (MEASURED_MS / 1000)) * 100,
  }
}

/** proc(5): utime and stime, the 14th and 15th field; the name before may hold spaces. */
async function ticksOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return Number(fields[11]) + Number(fields[12])
}
