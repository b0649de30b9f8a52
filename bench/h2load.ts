/** Runs h2load and reads what it reports. */
import { execFile } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { TLS_SUITE } from './wire.ts'

/** One load. */
export interface Load {
  readonly url: string
  readonly protocol: 'grpc' | 'http'
  /** The file sent as the body of each request. */
  readonly bodyPath: string
  readonly encoding: 'gzip' | undefined
  readonly token: string
  readonly connections: number
  /** Requests under way at once on each connection. HTTP/1.1: 1. */
  readonly streams: number
  readonly requests: number
  /** Requests each connection begins a second; undefined for as many as it can. */
  readonly perSecond?: number
}

/** What h2load saw. */
export interface LoadResult {
  readonly requestsPerSecond: number
  readonly succeeded: number
  readonly failed: number
  readonly status2xx: number
  readonly status4xx: number
  /** Time from sending a request to the end of its answer, in microseconds. */
  readonly p50Us: number
  readonly p99Us: number
}

/** Runs one load to its end. `logPath` is a scratch file. Throws where h2load itself fails. */
export async function load(load: Load, logPath: string): Promise<LoadResult> {
  rmSync(logPath, { force: true })
  const isGrpc = load.protocol === 'grpc'
  const headers = {
    authorization: `Bearer ${load.token}`,
    'content-type': isGrpc ? 'application/grpc' : 'application/x-protobuf',
    'user-agent': isGrpc ? 'OTel-OTLP-Exporter-bench grpc/1.0' : 'OTel-OTLP-Exporter-bench/1.0',
    ...(isGrpc ? { te: 'trailers' } : {}),
    ...(load.encoding === undefined
      ? {}
      : { [isGrpc ? 'grpc-encoding' : 'content-encoding']: load.encoding }),
  }
  const output = await run('h2load', [
    ...['-n', String(load.requests), '-c', String(load.connections), '-m', String(load.streams)],
    ...['-d', load.bodyPath, '--log-file', logPath, '--tls13-ciphers', TLS_SUITE],
    ...Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]),
    ...(isGrpc ? [] : ['--h1']),
    ...(load.perSecond === undefined ? [] : ['--rps', String(load.perSecond)]),
    load.url,
  ])
  return { ...parseSummary(output), ...percentiles(readFileSync(logPath, 'utf8')) }
}

/** Reads h2load's summary. Throws where it is not there. */
export function parseSummary(
  output: string,
): Pick<LoadResult, 'requestsPerSecond' | 'succeeded' | 'failed' | 'status2xx' | 'status4xx'> {
  const number = (pattern: RegExp): number => {
    const found = pattern.exec(output)?.[1]
    if (found === undefined) throw new Error(`h2load printed no ${pattern}:\n${output}`)
    return Number(found)
  }
  return {
    requestsPerSecond: number(/finished in .*, ([\d.]+) req\/s/),
    succeeded: number(/requests: .* (\d+) succeeded/),
    failed: number(/requests: .* (\d+) failed/),
    status2xx: number(/status codes: (\d+) 2xx/),
    status4xx: number(/status codes: .* (\d+) 4xx/),
  }
}

/** Percentiles of h2load's log: start, status and microseconds a line, separated by tabs. */
export function percentiles(log: string): { p50Us: number; p99Us: number } {
  const times = log
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => Number(line.split('\t')[2]))
    .sort((a, b) => a - b)
  const at = (share: number) =>
    times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN
  return { p50Us: at(0.5), p99Us: at(0.99) }
}

function run(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { timeout: 300_000 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(new Error(`${program} failed: ${stderr || error.message}`, { cause: error }))
    })
  })
}
