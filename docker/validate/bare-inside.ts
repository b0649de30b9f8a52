/** What can be seen and done inside of a set-up of bare processes. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parse } from 'yaml'
import { query } from '../../test/support/prometheus.ts'
import { runTollgate } from '../../test/support/run-command.ts'
import type { Gateway } from '../../test/support/spawn-gateway.ts'
import { ROOT } from '../../test/support/tools.ts'
import { bansIn } from './bans.ts'
import { bareBackup } from './bare-backup.ts'
import type { Inside, Usage } from './target.ts'

/** Each process by its service in the compose file, whose limits are taken. */
const SERVICES: Readonly<Record<string, string>> = {
  gateway: 'tollgate',
  collector: 'collector',
  prometheus: 'prometheus',
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
    query: (expr) => query(prometheus, expr),
    queryByHand: (expr) => `promtool query instant http://${prometheus} '${expr}'`,
    async usage() {
      const limits = await limitsOfStack()
      return await Promise.all(
        Object.entries(pids).map(([name, pid]) =>
          usageOf(name, pid, limits[SERVICES[name] ?? name]),
        ),
      )
    },
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
async function usageOf(
  name: string,
  pid: number,
  memoryLimitBytes: number | undefined,
): Promise<Usage> {
  const before = await ticksOf(pid)
  await pause(MEASURED_MS)
  const seconds = ((await ticksOf(pid)) - before) / TICKS_PER_SECOND
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(status) ?? []
  if (kib === undefined) throw new Error(`/proc/${pid}/status does not tell the memory of ${name}`)
  return {
    name,
    memoryBytes: Number(kib) * 1024,
    memoryLimitBytes,
    cpuPercent: (seconds / (MEASURED_MS / 1000)) * 100,
  }
}

/** `mem_limit` of each service of the compose file, in bytes. */
async function limitsOfStack(): Promise<Readonly<Record<string, number>>> {
  const text = await readFile(join(ROOT, 'docker/compose.yml'), 'utf8')
  const { services } = parse(text, { merge: true }) as {
    readonly services: Readonly<Record<string, { readonly mem_limit?: string }>>
  }
  return Object.fromEntries(
    Object.entries(services).flatMap(([name, { mem_limit }]) => {
      const [, mebibytes] = /^(\d+)m$/.exec(mem_limit ?? '') ?? []
      return mebibytes === undefined ? [] : [[name, Number(mebibytes) * 1024 * 1024]]
    }),
  )
}

/** proc(5): utime and stime, the 14th and 15th field; the name before may hold spaces. */
async function ticksOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return Number(fields[11]) + Number(fields[12])
}
