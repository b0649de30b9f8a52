/**
 * What the stack on one server takes: each program of docker/compose.yml that can be had without an
 * image, as a bare process with the configuration that is shipped, under a steady load of real SDKs.
 * Prints a table as docs/operations.md has it.
 *
 *     npm --prefix bench run stack -- --seconds 600 --agents 10
 *
 * Needs the programs of `.ci/tools` (collector, Prometheus 3, Alertmanager) and Debian's exporters.
 */
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { digestOf } from '../src/stores/token-secret.ts'
import { ROOT, tool } from '../test/support/tools.ts'
import { type Pace, startAgents } from './agents.ts'
import { makeCertificate } from './certificate.ts'
import { cpuBetweenUs, freePorts, processTree, readCpu, readMemory, start } from './processes.ts'

const TOKEN = 'a-token-of-the-bench-0123456789abcdef'
const MIB = 1024

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '600' },
    agents: { type: 'string', default: '10' },
    entry: { type: 'string', default: 'dist/main.js' },
  },
})
const [seconds, agents] = [Number(values.seconds), Number(values.agents)]
if (!(seconds >= 10) || !(agents >= 1))
  throw new Error('--seconds: at least 10; --agents: at least 1')

/** What each agent sends. */
const PACE: Pace = {
  countersOfTen: 30,
  histograms: 10,
  metricsEveryMs: 10_000,
  spansPerSecond: 20,
  logsPerSecond: 10,
}

interface Part {
  readonly name: string
  readonly command: readonly [string, ...string[]]
  readonly ports: readonly number[]
  readonly env?: Record<string, string>
}

const folder = await mkdtemp(join(tmpdir(), 'tollgate-stack-'))
await using stack = new AsyncDisposableStack()
stack.defer(() => rm(folder, { recursive: true, force: true }))
const ports = await freePorts(21_000, 12)
const [grpc = 0, http = 0, admin = 0, otlpGrpc = 0, otlpHttp = 0, own = 0, sent = 0] = ports
const [health = 0, prometheus = 0, alertmanager = 0, node = 0, blackbox = 0] = ports.slice(7)
/** Addresses of the compose file, and where they are here. */
const HERE: Readonly<Record<string, number>> = {
  'tollgate:4317': grpc,
  'tollgate:4318': http,
  'tollgate:9464': admin,
  'collector:8888': own,
  'collector:8889': sent,
  'localhost:9090': prometheus,
  'alertmanager:9093': alertmanager,
  'node-exporter:9100': node,
  'blackbox-exporter:9115': blackbox,
  '0.0.0.0:4317': otlpGrpc,
  '0.0.0.0:4318': otlpHttp,
  '0.0.0.0:8889': sent,
  '0.0.0.0:13133': health,
}

const certificate = makeCertificate(folder)
const running = new Map<string, number>()
for (const part of await parts()) {
  const directory = join(folder, part.name)
  await mkdir(directory)
  const program = await start(part.command, { ...part, directory })
  stack.defer(() => program.stop())
  running.set(part.name, program.pid)
}
const stopAgents = startAgents({
  ...{ count: agents, pace: PACE, token: TOKEN, endpoint: `https://localhost:${http}` },
  caPem: await readFile(certificate.certPath, 'utf8'),
})
stack.defer(stopAgents)
// What a start costs is not what running costs.
await pause(Math.min(60_000, (seconds * 1000) / 2))
const before = readings()
await pause(seconds * 1000)
const after = readings()
await report()

function readings() {
  return new Map(
    [...running].map(([name, root]) => {
      const pids = processTree(root)
      return [name, { cpu: readCpu(pids), ...readMemory(pids), atMs: performance.now() }]
    }),
  )
}

async function report(): Promise<void> {
  const rows = [...after].flatMap(([name, { cpu, rssKb, peakKb, atMs }]) => {
    const first = before.get(name)
    if (first === undefined) return []
    const share = cpuBetweenUs(first.cpu, cpu) / 1000 / (atMs - first.atMs)
    const mib = (kb: number) => `${(kb / MIB).toFixed(0)} MiB`
    return [`| ${name} | ${mib(rssKb)} | ${mib(peakKb)} | ${(share * 100).toFixed(1)} % |`]
  })
  const series = await ask('prometheus_tsdb_head_series')
  const samples = await ask('rate(prometheus_tsdb_head_samples_appended_total{type="float"}[5m])')
  const accepted = await ask('sum(rate(tollgate_outcomes_total{outcome="accepted"}[5m]))')
  const refused = await ask('sum(tollgate_outcomes_total{outcome!="accepted"})')
  const lines = [
    `${agents} agents, ${seconds} s: ${accepted.toFixed(1)} requests a second accepted, ${refused} not;`,
    `${series} series, ${samples.toFixed(0)} samples a second in Prometheus`,
    '',
    '| process | memory at the end | most | of one core |',
    '|---|---|---|---|',
    ...rows,
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
}

async function ask(expr: string): Promise<number> {
  const url = `http://127.0.0.1:${prometheus}/api/v1/query?query=${encodeURIComponent(expr)}`
  const answer = (await (await fetch(url)).json()) as {
    data: { result: { value: [number, string] }[] }
  }
  return Number(answer.data.result[0]?.value[1] ?? Number.NaN)
}

async function parts(): Promise<readonly Part[]> {
  const shipped = async (path: string, to: string) => {
    const text = await readFile(join(ROOT, 'docker', path), 'utf8')
    let here = text
    for (const [from, port] of Object.entries(HERE))
      here = here.replaceAll(from, `127.0.0.1:${port}`)
    // About itself: the one address that is written otherwise.
    here = here.replace('host: 0.0.0.0, port: 8888', `host: 127.0.0.1, port: ${own}`)
    const file = join(folder, to)
    await writeFile(file, here)
    return file
  }
  const collector = await shipped('collector/config.yaml', 'collector.yaml')
  const scrapes = await shipped('prometheus/prometheus.yml', 'prometheus.yml')
  await cp(join(ROOT, 'docker/prometheus/rules'), join(folder, 'rules'), { recursive: true })
  const tokens = [{ id: 'bench', holder: 'bench', sha256: digestOf(TOKEN) }]
  await writeFile(join(folder, 'tokens.json'), JSON.stringify({ tokens }), { mode: 0o600 })
  const entry = join(ROOT, values.entry)
  if (!existsSync(entry))
    throw new Error(`${entry} is not there: npm run build, or --entry src/main.ts`)
  const at = (port: number) => `127.0.0.1:${port}`
  return [
    { name: 'collector', command: [tool('otelcol'), '--config', collector], ports: [otlpGrpc] },
    {
      name: 'gateway',
      command: [process.execPath, entry, 'serve'],
      ports: [grpc, http, admin],
      env: {
        TOLLGATE_GRPC_LISTEN: at(grpc),
        TOLLGATE_HTTP_LISTEN: at(http),
        TOLLGATE_ADMIN_LISTEN: at(admin),
        TOLLGATE_COLLECTOR_GRPC: `http://${at(otlpGrpc)}`,
        TOLLGATE_COLLECTOR_HTTP: `http://${at(otlpHttp)}`,
        TOLLGATE_TLS_CERT: certificate.certPath,
        TOLLGATE_TLS_KEY: certificate.keyPath,
        TOLLGATE_TOKENS_FILE: join(folder, 'tokens.json'),
        TOLLGATE_STATE_DIR: join(folder, 'state'),
        TOLLGATE_LOG_FORMAT: 'json',
      },
    },
    {
      name: 'Prometheus',
      command: [
        tool('prometheus-3'),
        `--config.file=${scrapes}`,
        `--storage.tsdb.path=${join(folder, 'tsdb')}`,
        `--web.listen-address=${at(prometheus)}`,
      ],
      ports: [prometheus],
    },
    {
      name: 'Alertmanager',
      command: [
        tool('alertmanager'),
        `--config.file=${join(ROOT, 'docker/alertmanager/alertmanager.yml')}`,
        `--storage.path=${join(folder, 'alerts')}`,
        `--web.listen-address=${at(alertmanager)}`,
        '--cluster.listen-address=',
      ],
      ports: [alertmanager],
    },
    {
      name: 'node exporter',
      command: [tool('prometheus-node-exporter'), `--web.listen-address=${at(node)}`],
      ports: [node],
    },
    {
      name: 'blackbox exporter',
      command: [
        tool('prometheus-blackbox-exporter'),
        `--config.file=${join(ROOT, 'docker/prometheus/blackbox.yml')}`,
        `--web.listen-address=${at(blackbox)}`,
      ],
      ports: [blackbox],
    },
  ]
}
