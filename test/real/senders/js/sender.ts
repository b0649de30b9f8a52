/**
 * Sends numbered spans, metric points and log records with the OpenTelemetry SDK and the exporters
 * as they are set up by the standard OTEL_* variables, and with the token in OTLP_TOKEN_FILE where
 * that is given. Arguments: --run ID --items N --duration SECONDS [--until FILE: stops early, once
 * there is such a file]. Prints {"event":"started"} and, at the end,
 * {"event":"done","sent":N,"logged":[…]}.
 *
 * The SDK itself reads no OTEL_BSP_*, OTEL_BLRP_* and OTEL_METRIC_EXPORT_INTERVAL any more: those
 * three are passed on here.
 */
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { DiagLogLevel, diag } from '@opentelemetry/api'
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import { TokenFile } from '../../agents/javascript/otlp-token.mjs'

const { values } = parseArgs({
  options: {
    run: { type: 'string', default: '' },
    items: { type: 'string', default: '100' },
    duration: { type: 'string', default: '1' },
    until: { type: 'string', default: '' },
  },
})
const items = Number(values.items)
const durationMs = Number(values.duration) * 1000

const logged: string[] = []
const keep =
  (level: string) =>
  (...words: unknown[]) => {
    logged.push([level, ...words].map((word) => textOf(word)).join(' '))
  }
diag.setLogger(
  { error: keep('error'), warn: keep('warn'), info: keep('info'), debug() {}, verbose() {} },
  DiagLogLevel.INFO,
)

function textOf(word: unknown): string {
  if (word instanceof Error) return `${word.name}: ${word.message}`
  return typeof word === 'string' ? word : JSON.stringify(word)
}

function periodMs(name: string): number | undefined {
  const value = process.env[name]
  return value === undefined ? undefined : Number(value)
}

async function exporters() {
  switch (process.env.OTEL_EXPORTER_OTLP_PROTOCOL) {
    case 'grpc': {
      const traces = await import('@opentelemetry/exporter-trace-otlp-grpc')
      const metrics = await import('@opentelemetry/exporter-metrics-otlp-grpc')
      const logs = await import('@opentelemetry/exporter-logs-otlp-grpc')
      return { traces, metrics, logs }
    }
    case 'http/protobuf': {
      const traces = await import('@opentelemetry/exporter-trace-otlp-proto')
      const metrics = await import('@opentelemetry/exporter-metrics-otlp-proto')
      const logs = await import('@opentelemetry/exporter-logs-otlp-proto')
      return { traces, metrics, logs }
    }
    case 'http/json': {
      const traces = await import('@opentelemetry/exporter-trace-otlp-http')
      const metrics = await import('@opentelemetry/exporter-metrics-otlp-http')
      const logs = await import('@opentelemetry/exporter-logs-otlp-http')
      return { traces, metrics, logs }
    }
    default:
      throw new Error('OTEL_EXPORTER_OTLP_PROTOCOL: expected grpc, http/protobuf or http/json')
  }
}

/** What the exporters are given beside their variables, and what is done with one when it is made. */
async function credentials() {
  const { OTLP_TOKEN_FILE: path, OTEL_EXPORTER_OTLP_CERTIFICATE: ca } = process.env
  if (path === undefined) return { options: {}, again: <T>(exporter: T) => exporter }
  const token = new TokenFile(path)
  const again: <T>(exporter: T) => T = (made) => token.again(made)
  if (process.env.OTEL_EXPORTER_OTLP_PROTOCOL !== 'grpc')
    return { options: { headers: token.headers }, again }
  return { options: { credentials: token.credentials(await import('@grpc/grpc-js'), ca) }, again }
}

const exporter = await exporters()
const { options, again } = await credentials()
const spanDelayMs = periodMs('OTEL_BSP_SCHEDULE_DELAY')
const logDelayMs = periodMs('OTEL_BLRP_SCHEDULE_DELAY')
const intervalMs = periodMs('OTEL_METRIC_EXPORT_INTERVAL')

const traces = new TracerProvider({
  spanProcessors: [
    new BatchSpanProcessor({
      exporter: again(new exporter.traces.OTLPTraceExporter(options)),
      ...(spanDelayMs === undefined ? {} : { scheduledDelayMillis: spanDelayMs }),
    }),
  ],
})
const metrics = new MeterProvider({
  readers: [
    new PeriodicExportingMetricReader({
      exporter: again(new exporter.metrics.OTLPMetricExporter(options)),
      ...(intervalMs === undefined ? {} : { exportIntervalMillis: intervalMs }),
    }),
  ],
})
const logs = new LoggerProvider({
  processors: [
    new BatchLogRecordProcessor({
      exporter: again(new exporter.logs.OTLPLogExporter(options)),
      ...(logDelayMs === undefined ? {} : { scheduledDelayMillis: logDelayMs }),
    }),
  ],
})
const tracer = traces.getTracer('sender')
const counter = metrics.getMeter('sender').createCounter('tollgate.test.items')
const logger = logs.getLogger('sender')

console.log(JSON.stringify({ event: 'started' }))
const startMs = performance.now()
let sent = 0
for (let seq = 0; seq < items; seq += 1) {
  await sleep(Math.max(0, startMs + (durationMs * seq) / items - performance.now()))
  if (values.until !== '' && existsSync(values.until)) break
  const attributes = { run: values.run, seq }
  tracer.startSpan('item', { attributes }).end()
  counter.add(1, attributes)
  logger.emit({ body: 'item', attributes })
  sent += 1
}
const providers = [traces, metrics, logs]
await Promise.allSettled(providers.map((provider) => provider.forceFlush()))
await Promise.allSettled(providers.map((provider) => provider.shutdown()))
console.log(JSON.stringify({ event: 'done', sent, logged }))
