/** ghz on the metrics service of OTLP, with data points that a collector keeps. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { commandLine, run } from './programs.ts'

const CALL = 'opentelemetry.proto.collector.metrics.v1.MetricsService/Export'
const PROTO = 'docker/validate/metrics.proto'

/** A steady load of a bounded number of calls. */
export interface Load {
  readonly callsPerSecond: number
  readonly pointsPerCall: number
  readonly calls: number
}

/** Where it goes: over TLS with a token, or in plaintext without one. */
export interface LoadedPlace {
  /** `host:port`. */
  readonly address: string
  readonly tls:
    | { readonly name: string; readonly ca: string | undefined; readonly token: string }
    | undefined
}

/** What ghz reports. */
export interface LoadReport {
  readonly calls: number
  /** Calls by gRPC status. */
  readonly statuses: Readonly<Record<string, number>>
  readonly p95Ms: number
  readonly callsPerSecond: number
}

interface GhzJson {
  readonly count: number
  readonly rps: number
  readonly statusCodeDistribution: Readonly<Record<string, number>>
  readonly latencyDistribution:
    | readonly { readonly percentage: number; readonly latency: number }[]
    | null
}

/** Reads ghz's JSON. Latencies are of calls that went well. */
export function readLoadReport(json: string): LoadReport {
  const report = JSON.parse(json) as GhzJson
  const p95 = report.latencyDistribution?.find(({ percentage }) => percentage === 95)
  return {
    calls: report.count,
    statuses: report.statusCodeDistribution,
    p95Ms: (p95?.latency ?? Number.NaN) / 1e6,
    callsPerSecond: report.rps,
  }
}

/** Data points as ghz reads them: names as in the definitions, 64-bit numbers as text. */
export function loadMessage(points: number, wallMs: number): string {
  const attribute = (key: string, text: string) => ({ key, value: { string_value: text } })
  return JSON.stringify({
    resource_metrics: [
      {
        resource: { attributes: [attribute('service.name', 'tollgate-validate-load')] },
        scope_metrics: [
          {
            metrics: [
              {
                name: 'tollgate.validate.load',
                gauge: {
                  data_points: Array.from({ length: points }, (_, index) => ({
                    time_unix_nano: `${Math.floor(wallMs)}000000`,
                    as_int: String(index),
                    attributes: [attribute('point', String(index))],
                  })),
                },
              },
            ],
          },
        ],
      },
    ],
  })
}

function argsOf({ callsPerSecond, calls }: Load, { address, tls }: LoadedPlace): string[] {
  const ca = tls?.ca === undefined ? [] : ['--cacert', tls.ca]
  const secured = tls === undefined ? ['--insecure'] : [...ca, '--cname', tls.name]
  return [
    ...secured,
    ...['--proto', PROTO, '--call', CALL, '-n', String(calls), '-r', String(callsPerSecond)],
    ...['-c', '20', '--connections', '2', '-t', '10s', '-O', 'json'],
    address,
  ]
}

/** The command line with the token and the message as files to be made. */
export function loadByHand(load: Load, place: LoadedPlace): string {
  const files = ['-D', 'points.json', ...(place.tls === undefined ? [] : ['-M', 'token.json'])]
  return commandLine('ghz', [...files, ...argsOf(load, place)])
}

/** Runs it to its end, which comes by itself. Throws where ghz makes no report. */
export async function loadWithGhz(load: Load, place: LoadedPlace): Promise<LoadReport> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-ghz-'))
  try {
    const message = join(folder, 'points.json')
    await writeFile(message, loadMessage(load.pointsPerCall, Date.now()))
    const metadata = join(folder, 'token.json')
    const { tls } = place
    if (tls !== undefined)
      await writeFile(metadata, JSON.stringify({ authorization: `Bearer ${tls.token}` }), {
        mode: 0o600,
      })
    const files = ['-D', message, ...(tls === undefined ? [] : ['-M', metadata])]
    const { stdout, stderr } = await run('ghz', [...files, ...argsOf(load, place)], {
      timeoutMs: 90_000,
    })
    if (!stdout.startsWith('{')) throw new Error(`ghz made no report: ${stderr || stdout}`)
    return readLoadReport(stdout)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
