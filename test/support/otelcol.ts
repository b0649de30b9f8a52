/** A real OpenTelemetry Collector as the backend, writing what it receives to a file. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Child } from './child.ts'
import { tool } from './tools.ts'

/** The signals counted. */
export type Counted = 'spans' | 'points' | 'logs'

/** What arrived of one run: how often each item came, by its number. */
export type Received = Readonly<Record<Counted, ReadonlyMap<number, number>>>

/** A running collector. */
export interface Otelcol {
  /** `127.0.0.1:port` of the OTLP receivers; they stay the same over a restart. */
  readonly grpc: string
  readonly http: string
  /** What has been written so far of a run (the `run` attribute of the items). */
  received(run: string): Promise<Received>
  /** All data points, spans and log records written so far, whoever sent them. */
  total(): Promise<Record<Counted, number>>
  /** SIGTERM, and waits for the end: what was received is on the disk afterwards. */
  stop(): Promise<void>
  /** Starts it again on the same ports. */
  start(): Promise<void>
  /** Its log. */
  output(): string
  /** Stops it and removes its folder. */
  [Symbol.asyncDispose](): Promise<void>
}

export interface OtelcolOptions {
  /** Bearer token the receivers ask for; none by default. */
  readonly token?: string
}

/** Starts a collector on free ports of 127.0.0.1 and waits until it is ready. */
export async function startOtelcol(options: OtelcolOptions = {}): Promise<Otelcol> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-otelcol-'))
  const [grpcPort, httpPort, healthPort] = await freePorts(3)
  const file = join(folder, 'received.jsonl')
  const config = join(folder, 'config.json')
  const auth = options.token === undefined ? {} : { auth: { authenticator: 'bearertokenauth' } }
  await writeFile(
    config,
    JSON.stringify({
      receivers: {
        otlp: {
          protocols: {
            grpc: { endpoint: `127.0.0.1:${grpcPort}`, max_recv_msg_size_mib: 64, ...auth },
            http: { endpoint: `127.0.0.1:${httpPort}`, max_request_body_size: 67_108_864, ...auth },
          },
        },
      },
      exporters: { file: { path: file, append: true, flush_interval: '100ms' }, debug: {} },
      extensions: {
        health_check: { endpoint: `127.0.0.1:${healthPort}` },
        ...(options.token === undefined ? {} : { bearertokenauth: { token: options.token } }),
      },
      service: {
        extensions:
          options.token === undefined ? ['health_check'] : ['health_check', 'bearertokenauth'],
        telemetry: { metrics: { level: 'none' } },
        pipelines: Object.fromEntries(
          ['traces', 'metrics', 'logs'].map((signal) => [
            signal,
            { receivers: ['otlp'], exporters: ['file', 'debug'] },
          ]),
        ),
      },
    }),
  )

  let child: Child | undefined
  const start = async () => {
    const started = new Child(tool('otelcol'), ['--config', config])
    child = started
    await untilHealthy(`http://127.0.0.1:${healthPort}/`, started)
  }
  const stop = async () => {
    const running = child
    child = undefined
    if (running === undefined) return
    running.kill('SIGTERM')
    const { code } = await running.exit
    if (code !== 0) throw new Error(`the collector ended with code ${code}: ${running.output}`)
  }
  try {
    await start()
  } catch (error) {
    child?.kill('SIGKILL')
    await rm(folder, { recursive: true, force: true })
    throw error
  }
  return {
    grpc: `127.0.0.1:${grpcPort}`,
    http: `127.0.0.1:${httpPort}`,
    received: async (run) => countRun(await itemsOf(file), run),
    total: async () => {
      const total = { spans: 0, points: 0, logs: 0 }
      for (const { kind } of await itemsOf(file)) total[kind] += 1
      return total
    },
    stop,
    start,
    output: () => child?.output ?? '',
    async [Symbol.asyncDispose]() {
      await stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/**
 * Ports that are free now. They may be taken before they are used, so they come from below the range
 * the system itself hands out for outgoing connections.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) {
    const port = 10_000 + Math.floor(Math.random() * 20_000)
    if (!ports.includes(port) && (await isFree(port))) ports.push(port)
  }
  return ports
}

async function isFree(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

async function untilHealthy(url: string, child: Child): Promise<void> {
  const limitMs = performance.now() + 30_000
  while (performance.now() < limitMs) {
    if (child.hasEnded) throw new Error(`the collector did not start: ${child.output}`)
    const answer = await fetch(url).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.ok === true) return
    await sleep(50)
  }
  throw new Error(`the collector is not ready after 30 s: ${child.output}`)
}

interface Item {
  readonly kind: Counted
  readonly run: string | undefined
  readonly seq: number | undefined
}

interface Attribute {
  readonly key: string
  readonly value?: { readonly stringValue?: string; readonly intValue?: string | number }
}

interface Attributed {
  readonly attributes?: readonly Attribute[]
}

interface Points {
  readonly dataPoints?: readonly Attributed[]
}

interface Line {
  readonly resourceSpans?: readonly {
    readonly scopeSpans?: readonly { readonly spans?: readonly Attributed[] }[]
  }[]
  readonly resourceMetrics?: readonly {
    readonly scopeMetrics?: readonly {
      readonly metrics?: readonly { readonly sum?: Points; readonly gauge?: Points }[]
    }[]
  }[]
  readonly resourceLogs?: readonly {
    readonly scopeLogs?: readonly { readonly logRecords?: readonly Attributed[] }[]
  }[]
}

/** Reads the file exporter's JSON lines. The last line may still be being written. */
async function itemsOf(file: string): Promise<Item[]> {
  const text = await readFile(file, 'utf8').catch(() => '')
  const items: Item[] = []
  for (const json of text.slice(0, text.lastIndexOf('\n') + 1).split('\n')) {
    if (json === '') continue
    const line = JSON.parse(json) as Line
    for (const { scopeSpans = [] } of line.resourceSpans ?? [])
      for (const { spans = [] } of scopeSpans) items.push(...spans.map((at) => item('spans', at)))
    for (const { scopeLogs = [] } of line.resourceLogs ?? [])
      for (const { logRecords = [] } of scopeLogs)
        items.push(...logRecords.map((at) => item('logs', at)))
    for (const { scopeMetrics = [] } of line.resourceMetrics ?? [])
      for (const { metrics = [] } of scopeMetrics)
        for (const { sum, gauge } of metrics)
          for (const at of [...(sum?.dataPoints ?? []), ...(gauge?.dataPoints ?? [])])
            items.push(item('points', at))
  }
  return items
}

function item(kind: Counted, { attributes = [] }: Attributed): Item {
  const find = (key: string) => attributes.find((attribute) => attribute.key === key)?.value
  const seq = find('seq')?.intValue
  return {
    kind,
    run: find('run')?.stringValue,
    seq: seq === undefined ? undefined : Number(seq),
  }
}

function countRun(items: readonly Item[], run: string): Received {
  const received = {
    spans: new Map<number, number>(),
    points: new Map<number, number>(),
    logs: new Map<number, number>(),
  }
  for (const { kind, run: of, seq } of items) {
    if (of !== run || seq === undefined) continue
    received[kind].set(seq, (received[kind].get(seq) ?? 0) + 1)
  }
  return received
}
