/** `tollgate-backup`, and a Prometheus for it to back up. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Child, runToEnd } from './child.ts'
import { eventually } from './eventually.ts'
import { freePorts } from './otelcol.ts'
import { findTool, ROOT, tool } from './tools.ts'

const MAIN = join(ROOT, 'docker/backup/src/main.ts')
const RUN_MS = 120_000

type Env = Readonly<Record<string, string>>

/** `tollgate-backup` with these settings and no other of ours, until it ends. */
export async function runBackup(args: readonly string[], env: Env) {
  return await runToEnd(process.execPath, [MAIN, ...args], {
    env: cleanEnv(env),
    timeoutMs: RUN_MS,
  })
}

/** The same, while it runs. */
export function spawnBackup(args: readonly string[], env: Env): Child {
  return new Child(process.execPath, [MAIN, ...args], { env: cleanEnv(env) })
}

/** A Prometheus that can be stopped and started again on its data. */
export interface OwnPrometheus {
  readonly address: string
  readonly data: string
  start(): Promise<void>
  stop(): Promise<void>
}

export interface BackupPlace {
  readonly folder: string
  /** Settings of the tool: local copies in `backups`. */
  readonly env: Env
  readonly prometheus: OwnPrometheus
  /** The gateway's state directory, with a few files as a gateway writes them. */
  readonly state: string
  /** Runs the tool and asserts that it succeeds. Returns what it printed, without the line's end. */
  succeed(args: readonly string[], more?: Env): Promise<string>
  /** Runs the tool and asserts that it fails with this code and words. */
  refuse(args: readonly string[], code: number, words: RegExp, more?: Env): Promise<void>
}

/** Makes it all in a folder of its own, gone with the test. `program` is `prometheus` or `prometheus-3`. */
export async function makePlace(t: TestContext, program = 'prometheus'): Promise<BackupPlace> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-backup-'))
  const prometheus = await createPrometheus(t, folder, program)
  // Hooks run in this order: what else writes there may not have ended yet.
  t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 10 }))
  const state = join(folder, 'state')
  await mkdir(join(state, 'acme'), { recursive: true, mode: 0o700 })
  await writeFile(join(state, 'tokens.json'), '{"tokens":[]}\n', { mode: 0o600 })
  await writeFile(join(state, 'acme/account.json'), '{"key":"k"}\n', { mode: 0o600 })
  const env = {
    TOLLGATE_BACKUP_DIR: join(folder, 'backups'),
    TOLLGATE_BACKUP_WORK_DIR: join(folder, 'work'),
    TOLLGATE_BACKUP_PROMETHEUS_URL: `http://${prometheus.address}`,
    TOLLGATE_BACKUP_PROMETHEUS_DIR: prometheus.data,
    TOLLGATE_BACKUP_PROMETHEUS_BINARY: findTool(program) ?? program,
    TOLLGATE_BACKUP_GATEWAY_DIR: state,
    TOLLGATE_BACKUP_MIN_FREE: '0B',
    // So that Prometheus and a gateway of this user can go on with what was restored.
    TOLLGATE_BACKUP_PROMETHEUS_OWNER: owner(),
    TOLLGATE_BACKUP_GATEWAY_OWNER: owner(),
  }
  return {
    ...{ folder, env, prometheus, state },
    async succeed(args, more = {}) {
      const { code, stdout, stderr } = await runBackup(args, { ...env, ...more })
      assert.equal(code, 0, `${args.join(' ')}: ${stdout}\n${stderr}`)
      return stdout
    },
    async refuse(args, expected, words, more = {}) {
      const { code, stdout, stderr } = await runBackup(args, { ...env, ...more })
      assert.match(stderr, words, stdout)
      assert.equal(code, expected, stderr)
    },
  }
}

function owner(): string {
  return `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`
}

async function createPrometheus(
  t: TestContext,
  folder: string,
  program: string,
): Promise<OwnPrometheus> {
  const [port] = await freePorts(1)
  const address = `127.0.0.1:${port}`
  const data = join(folder, 'data')
  const config = join(folder, 'prometheus.yml')
  await mkdir(data)
  await writeFile(
    config,
    `global: {scrape_interval: 1s}\nscrape_configs:\n  - job_name: prometheus\n    static_configs:\n      - targets: ['${address}']\n`,
  )
  let child: Child | undefined
  const stop = async () => {
    child?.kill('SIGTERM')
    await child?.exit
    child = undefined
  }
  t.after(stop)
  return {
    ...{ address, data, stop },
    async start() {
      const started = new Child(tool(program), [
        ...[`--config.file=${config}`, `--storage.tsdb.path=${data}`, '--web.enable-admin-api'],
        ...[`--web.listen-address=${address}`, '--storage.tsdb.retention.time=90d'],
      ])
      child = started
      await eventually(async () => {
        assert.ok(!started.hasEnded, started.output)
        const answer = await fetch(`http://${address}/-/ready`).catch(() => undefined)
        await answer?.arrayBuffer()
        return answer?.ok
      }, 'Prometheus ready')
    },
  }
}

/** Writes days of history into a data directory, as blocks: a sample of each series every five minutes. */
export async function makeHistory(
  { folder, prometheus }: BackupPlace,
  { days = 3, series = 20 }: { readonly days?: number; readonly series?: number } = {},
): Promise<void> {
  const endSeconds = Math.floor(Date.now() / 300_000) * 300 - 3 * 3600
  const lines: string[] = []
  for (const [name, labels] of [
    ['up', ['job="shop",instance="a"', 'job="node",instance="b"']],
    ['value', Array.from({ length: series }, (_, at) => `job="shop",at="${at}"`)],
  ] as const) {
    lines.push(`# TYPE ${name} gauge`)
    for (const [at, label] of labels.entries())
      for (let second = endSeconds - days * 86_400; second < endSeconds; second += 300)
        lines.push(`${name}{${label}} ${name === 'up' ? 1 : (second % 977) + at / 7} ${second}`)
  }
  const file = join(folder, 'history.txt')
  await writeFile(file, `${lines.join('\n')}\n# EOF\n`)
  const args = ['tsdb', 'create-blocks-from', 'openmetrics', file, prometheus.data]
  const { code, stderr } = await runToEnd(tool('promtool'), args)
  assert.equal(code, 0, stderr)
}

function cleanEnv(env: Env): NodeJS.ProcessEnv {
  const others = Object.entries(process.env).filter(([name]) => !/^(?:TOLLGATE_|AWS_)/.test(name))
  return { ...Object.fromEntries(others), ...env }
}
