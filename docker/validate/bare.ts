/**
 * A set-up of bare processes on this machine: gateway, collector and Prometheus with the scrape
 * configuration that is shipped. What is public listens on every address, the inside on 127.0.0.1
 * alone; so 127.0.0.2 and ::1 show what the world would see. Linux, as other systems have no 127.0.0.2.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parse, stringify } from 'yaml'
import { Child } from '../../test/support/child.ts'
import { freePorts } from '../../test/support/otelcol.ts'
import { spawnGateway, TOKEN } from '../../test/support/spawn-gateway.ts'
import { ROOT, tool } from '../../test/support/tools.ts'
import { bareInside } from './bare-inside.ts'
import type { Inside, Target } from './target.ts'

const READY_WITHIN_MS = 30_000

/** What is made otherwise on purpose, to see whether it is noticed. */
export interface BareFaults {
  /** Variables of the gateway, over the good ones. */
  readonly gateway?: Readonly<Record<string, string>>
  /** Where the collector's OTLP listens; default 127.0.0.1. */
  readonly collectorHost?: string
  /** Where the admin port listens; default 127.0.0.1. */
  readonly adminHost?: string
}

export interface Bare {
  readonly target: Target
  /** Stops everything and removes its files. */
  [Symbol.asyncDispose](): Promise<void>
}

/** Starts all of it and waits until Prometheus has seen it. Throws where a program does not start. */
export async function startBare(faults: BareFaults = {}): Promise<Bare> {
  const stack = new AsyncDisposableStack()
  try {
    const folder = await mkdtemp(join(tmpdir(), 'tollgate-validate-'))
    stack.defer(() => rm(folder, { recursive: true, force: true }))
    const [grpcPort = 0, httpPort = 0, ...inner] = await freePorts(7)
    const [adminPort = 0, otlpGrpc = 0, otlpHttp = 0, own = 0, agents = 0] = inner
    const [prometheusPort = 0] = await freePorts(1)
    const here = (port: number) => `127.0.0.1:${port}`

    const config = join(folder, 'collector.json')
    const collectorHost = faults.collectorHost ?? '127.0.0.1'
    const ports = { otlpGrpc, otlpHttp, own, agents }
    await writeFile(config, JSON.stringify(collectorConfig(collectorHost, ports)))
    const collector = start(stack, 'otelcol', ['--config', config])
    await untilAnswers(`http://${here(own)}/metrics`, collector)

    const env = {
      TOLLGATE_GRPC_LISTEN: `[::]:${grpcPort}`,
      TOLLGATE_HTTP_LISTEN: `[::]:${httpPort}`,
      TOLLGATE_ADMIN_LISTEN: `${faults.adminHost ?? '127.0.0.1'}:${adminPort}`,
      // Everybody comes from this machine.
      TOLLGATE_BAN_EXEMPT: 'none',
      ...faults.gateway,
    }
    const behind = { grpc: here(otlpGrpc), http: here(otlpHttp) }
    const gateway = stack.use(await spawnGateway({ collector: behind, env }))

    const prometheus = start(stack, 'prometheus', [
      `--config.file=${await scrapeConfig(folder, {
        'tollgate:9464': here(adminPort),
        'collector:8888': here(own),
        'collector:8889': here(agents),
        'localhost:9090': here(prometheusPort),
      })}`,
      `--storage.tsdb.path=${join(folder, 'prometheus')}`,
      `--web.listen-address=${here(prometheusPort)}`,
      '--web.enable-admin-api',
    ])
    await untilAnswers(`http://${here(prometheusPort)}/-/ready`, prometheus)
    const inside = bareInside({
      folder,
      gateway,
      pids: { gateway: gateway.pid, collector: collector.pid, prometheus: prometheus.pid },
      prometheus: here(prometheusPort),
      collectorGrpc: here(otlpGrpc),
      secrets: [otlpGrpc, otlpHttp, own, agents, prometheusPort, adminPort].map(
        (port) => `:${port}`,
      ),
      startUnlimited: () =>
        spawnGateway({
          collector: behind,
          env: {
            TOLLGATE_RATE: 'off',
            TOLLGATE_TLS_CERT: join(gateway.folder, 'test.pem'),
            TOLLGATE_TLS_KEY: join(gateway.folder, 'test.key'),
          },
        }),
    })
    await untilScraped(inside.query)
    const target: Target = {
      ...{ mode: 'bare', host: 'localhost', addresses: ['127.0.0.2', '::1'], grpcPort, httpPort },
      ...{ ca: gateway.certificate, token: TOKEN, ratePerSecond: 100, burst: 200, strikes: 5 },
      isRedirected: true,
      openPorts: [grpcPort, httpPort],
      triedPorts: [adminPort, otlpGrpc, otlpHttp, own, agents, prometheusPort],
      // Programs that cannot choose come from 127.0.0.1: the attacker.
      sources: { visitor: '127.0.0.4', hasty: '127.0.0.5', agent: '127.0.0.3' },
      admin: `http://${here(adminPort)}`,
      inside,
    }
    const running = stack.move()
    return { target, [Symbol.asyncDispose]: () => running.disposeAsync() }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}

function start(
  stack: AsyncDisposableStack,
  name: 'otelcol' | 'prometheus',
  args: readonly string[],
): Child {
  const child = new Child(tool(name), args)
  stack.defer(async () => {
    child.kill('SIGTERM')
    await child.exit
  })
  return child
}

async function untilAnswers(url: string, child: Child): Promise<void> {
  await until(async () => {
    if (child.hasEnded) throw new Error(`did not start: ${child.output}`)
    const answer = await fetch(url).catch(() => undefined)
    await answer?.arrayBuffer()
    return answer?.ok === true
  }, `${url} to answer`)
}

async function untilScraped(query: Inside['query']): Promise<void> {
  await until(async () => {
    const up = await query('up == 1').catch(() => [])
    return up.length >= 4
  }, 'Prometheus to have seen all four of its targets')
}

async function until(isSo: () => Promise<boolean>, what: string): Promise<void> {
  const giveUpMs = performance.now() + READY_WITHIN_MS
  while (!(await isSo())) {
    if (performance.now() > giveUpMs)
      throw new Error(`waited ${READY_WITHIN_MS / 1000} s for ${what}`)
    await pause(100)
  }
}

function collectorConfig(
  host: string,
  ports: Readonly<Record<'otlpGrpc' | 'otlpHttp' | 'own' | 'agents', number>>,
) {
  const pull = { exporter: { prometheus: { host: '127.0.0.1', port: ports.own } } }
  const pipeline = (exporter: string) => ({ receivers: ['otlp'], exporters: [exporter] })
  return {
    receivers: {
      otlp: {
        protocols: {
          grpc: { endpoint: `${host}:${ports.otlpGrpc}` },
          http: { endpoint: `${host}:${ports.otlpHttp}` },
        },
      },
    },
    exporters: {
      prometheus: {
        endpoint: `127.0.0.1:${ports.agents}`,
        resource_constant_labels: { included: ['host.name'] },
      },
      debug: {},
    },
    service: {
      telemetry: { metrics: { readers: [{ pull }] } },
      pipelines: {
        traces: pipeline('debug'),
        logs: pipeline('debug'),
        metrics: pipeline('prometheus'),
      },
    },
  }
}

interface ScrapeConfig {
  readonly global: Record<string, string>
  readonly scrape_configs: readonly {
    readonly static_configs?: readonly { targets: readonly string[] }[]
  }[]
}

/** The configuration as it is shipped, with these targets alone, every second, and no rules. */
async function scrapeConfig(
  folder: string,
  places: Readonly<Record<string, string>>,
): Promise<string> {
  const shipped = await readFile(join(ROOT, 'docker/prometheus/prometheus.yml'), 'utf8')
  const { scrape_configs } = parse(shipped, { merge: true }) as ScrapeConfig
  const jobs = scrape_configs.flatMap((job) => {
    const targets = (job.static_configs ?? []).flatMap((each) => each.targets)
    const here = targets.flatMap((target) => places[target] ?? [])
    return here.length === 0 ? [] : [{ ...job, static_configs: [{ targets: here }] }]
  })
  const file = join(folder, 'prometheus.yml')
  const global = { scrape_interval: '1s', scrape_timeout: '1s' }
  await writeFile(file, stringify({ global, scrape_configs: jobs }))
  return file
}
