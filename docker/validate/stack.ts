/** What can be seen and done inside of the compose stack on this machine, by docker compose. */
import type { Sample } from '../../test/support/prometheus.ts'
import { bansIn } from './bans.ts'
import { commandLine, run } from './programs.ts'
import type { Inside, Usage } from './target.ts'

const UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
}
/** More than a container of the stack has any use for: the whole machine, so nothing limits it. */
const NO_LIMIT_FROM = 0.95

interface Stats {
  readonly Name: string
  readonly MemUsage: string
  readonly CPUPerc: string
}

/** `12.5MiB` in bytes. Throws where it is none. */
export function bytesOf(text: string): number {
  const [, number, unit = ''] = /^([\d.]+)([KMGT]?i?B)$/.exec(text.trim()) ?? []
  const factor = UNITS[unit]
  if (number === undefined || factor === undefined) throw new Error(`${text} is no size`)
  return Number(number) * factor
}

/** Reads `docker stats --format '{{json .}}'`, a line a container. */
export function usageIn(lines: string, machineBytes: number): readonly Usage[] {
  return lines
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => {
      const { Name, MemUsage, CPUPerc } = JSON.parse(line) as Stats
      const [used = '', limit = ''] = MemUsage.split(' / ')
      const limitBytes = bytesOf(limit)
      return {
        name: Name,
        memoryBytes: bytesOf(used),
        memoryLimitBytes: limitBytes >= machineBytes * NO_LIMIT_FROM ? undefined : limitBytes,
        cpuPercent: Number(CPUPerc.replace('%', '')),
      }
    })
}

/**
 * `folder` is that of compose.yml and its .env, which may name further files. Throws where nothing of
 * the stack runs.
 */
export async function stackInside(folder: string): Promise<Inside> {
  const docker = async (args: readonly string[], timeoutMs = 60_000) => {
    const { code, stdout, stderr } = await run('docker', args, { timeoutMs, cwd: folder })
    if (code !== 0)
      throw new Error(`${commandLine('docker', args)} ended with ${code}: ${stderr.slice(-500)}`)
    return stdout
  }
  const byHand = (args: readonly string[]) => `cd ${folder} && ${commandLine('docker', args)}`
  const promtool = (expr: string) => [
    ...['compose', 'exec', '-T', 'prometheus', 'promtool', 'query', 'instant', '-o', 'json'],
    ...['http://127.0.0.1:9090', expr],
  ]
  const services = (await docker(['compose', 'ps', '--services'])).split('\n').filter(Boolean)
  if (services.length === 0) throw new Error(`nothing of the stack in ${folder} runs`)
  return {
    async query(expr) {
      return JSON.parse(await docker(promtool(expr))) as readonly Sample[]
    },
    queryByHand: (expr) => byHand(promtool(expr)),
    async usage() {
      const ids = (await docker(['compose', 'ps', '-q'])).split('\n').filter(Boolean)
      const total = Number(await docker(['info', '--format', '{{.MemTotal}}']))
      return usageIn(
        await docker(['stats', '--no-stream', '--format', '{{json .}}', ...ids]),
        total,
      )
    },
    usageByHand: 'docker stats --no-stream',
    async bans() {
      return bansIn(
        await docker(['compose', 'exec', '-T', 'tollgate', 'tollgate', 'bans', 'list', '--json']),
      )
    },
    async lift(address) {
      await docker(['compose', 'exec', '-T', 'tollgate', 'tollgate', 'bans', 'lift', address])
    },
    collectorGrpc: undefined,
    unlimited: undefined,
    secrets: ['collector:4317', 'collector:4318', 'prometheus:9090', 'tollgate:9464'],
    backup: services.includes('backup')
      ? {
          byHand: byHand(['compose', 'run', '--rm', 'backup', 'verify']),
          async run() {
            const steps: string[] = []
            for (const command of ['backup', 'verify']) {
              const args = ['compose', 'run', '--rm', '-T', 'backup', command]
              steps.push((await docker(args, 140_000)).trim().split('\n').at(-1) ?? '')
            }
            return steps
          },
        }
      : undefined,
  }
}
