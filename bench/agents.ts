/** Agents that send at a steady pace: the official SDK for JavaScript with OTLP/HTTP and protobuf. */
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-proto'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'

/** What one agent sends. */
export interface Pace {
  readonly countersOfTen: number
  readonly histograms: number
  readonly metricsEveryMs: number
  readonly spansPerSecond: number
  readonly logsPerSecond: number
}

export interface AgentsOptions {
  readonly count: number
  readonly pace: Pace
  /** `https://host:port` of the gateway. */
  readonly endpoint: string
  readonly token: string
  readonly caPem: string
}

const TICK_MS = 100

/** Starts them; returns what stops them, which resolves when what they have is sent. */
export function startAgents({ count, pace, ...to }: AgentsOptions): () => Promise<void> {
  const agents = Array.from({ length: count }, (_, at) => startAgent(at, pace, to))
  return async () => {
    await Promise.all(agents.map((stop) => stop()))
  }
}

function startAgent(
  at: number,
  pace: Pace,
  { endpoint, token, caPem }: Pick<AgentsOptions, 'endpoint' | 'token' | 'caPem'>,
): () => Promise<void> {
  const resource = resourceFromAttributes({
    'service.name': `service-${at}`,
    'service.instance.id': `instance-${at}`,
    'host.name': `host-${at}`,
  })
  const to = (signal: string) => ({
    url: `${endpoint}/v1/${signal}`,
    headers: { authorization: `Bearer ${token}` },
    httpAgentOptions: { ca: caPem },
  })
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter(to('metrics')),
    exportIntervalMillis: pace.metricsEveryMs,
  })
  const meters = new MeterProvider({ resource, readers: [reader] })
  const exporter = new OTLPTraceExporter(to('traces'))
  const traces = new TracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor({ exporter })],
  })
  const logs = new LoggerProvider({
    resource,
    processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter(to('logs')) })],
  })
  const meter = meters.getMeter('bench')
  const tracer = traces.getTracer('bench')
  const logger = logs.getLogger('bench')
  const range = (length: number) => Array.from({ length }, (_, index) => index)
  const counters = range(pace.countersOfTen).map((n) =>
    meter.createCounter(`requests.of.kind.${n}`),
  )
  const histograms = range(pace.histograms).map((n) => meter.createHistogram(`duration.of.${n}`))
  let turns = 0
  const timer = setInterval(() => {
    turns += 1
    for (const counter of counters)
      for (const route of range(10)) counter.add(1, { 'http.route': `/route/${route}` })
    for (const histogram of histograms) histogram.record((turns * 7) % 1000)
    const due = (perSecond: number) =>
      Math.floor((turns * perSecond * TICK_MS) / 1000) -
      Math.floor(((turns - 1) * perSecond * TICK_MS) / 1000)
    for (const n of range(due(pace.spansPerSecond)))
      tracer
        .startSpan(`GET /route/${n}`, { attributes: { 'http.response.status_code': 200 } })
        .end()
    for (const n of range(due(pace.logsPerSecond)))
      logger.emit({ body: `request ${turns}.${n} answered in ${(turns * 7) % 100} ms` })
  }, TICK_MS)
  return async () => {
    clearInterval(timer)
    await Promise.all([meters.shutdown(), traces.shutdown(), logs.shutdown()])
  }
}
