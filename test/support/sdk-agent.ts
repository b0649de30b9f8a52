/** A program with OpenTelemetry's SDK for JavaScript that has a name and runs on a machine with a name. */
import { readFileSync } from 'node:fs'
import { credentials, Metadata } from '@grpc/grpc-js'
import { OTLPLogExporter as GrpcLogs } from '@opentelemetry/exporter-logs-otlp-grpc'
import { OTLPLogExporter as HttpLogs } from '@opentelemetry/exporter-logs-otlp-proto'
import { OTLPMetricExporter as GrpcMetrics } from '@opentelemetry/exporter-metrics-otlp-grpc'
import { OTLPMetricExporter as HttpMetrics } from '@opentelemetry/exporter-metrics-otlp-proto'
import { OTLPTraceExporter as GrpcTraces } from '@opentelemetry/exporter-trace-otlp-grpc'
import { OTLPTraceExporter as HttpTraces } from '@opentelemetry/exporter-trace-otlp-proto'
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources'
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'

export interface AgentOptions {
  readonly protocol: 'grpc' | 'http'
  /** `host:port` of the gateway's port for this protocol. */
  readonly address: string
  /** Path of the CA certificate to trust. */
  readonly certificate: string
  readonly token: string
  /** `service.name`, which Prometheus calls job. */
  readonly service: string
  /** `host.name`, which Prometheus calls device. */
  readonly host: string
}

/** A running agent. */
export interface SdkAgent {
  /** Ends a span, counts, measures and logs once; it is exported within half a second. */
  work(): void
  /** Exports what is left and stops. */
  stop(): Promise<void>
}

const EXPORT_EVERY_MS = 500

/** Starts one. It exports by itself; whether it gets through shows at the gateway. */
export function startSdkAgent(options: AgentOptions): SdkAgent {
  const resource = defaultResource().merge(
    resourceFromAttributes({
      'service.name': options.service,
      'service.instance.id': `${options.service}-1`,
      'service.version': '1.0.0',
      'host.name': options.host,
    }),
  )
  const exporters = options.protocol === 'grpc' ? overGrpc(options) : overHttp(options)
  const traces = new TracerProvider({
    resource,
    spanProcessors: [
      new BatchSpanProcessor({ exporter: exporters.traces, scheduledDelayMillis: EXPORT_EVERY_MS }),
    ],
  })
  const metrics = new MeterProvider({
    resource,
    readers: [
      new PeriodicExportingMetricReader({
        exporter: exporters.metrics,
        exportIntervalMillis: EXPORT_EVERY_MS,
        exportTimeoutMillis: EXPORT_EVERY_MS,
      }),
    ],
  })
  const logs = new LoggerProvider({
    resource,
    processors: [
      new BatchLogRecordProcessor({
        exporter: exporters.logs,
        scheduledDelayMillis: EXPORT_EVERY_MS,
      }),
    ],
  })
  const meter = metrics.getMeter(options.service)
  const orders = meter.createCounter('shop.orders', { unit: '{order}' })
  const took = meter.createHistogram('shop.order.duration', { unit: 's' })
  const open = meter.createUpDownCounter('shop.carts')
  return {
    work() {
      traces.getTracer(options.service).startSpan('order').end()
      orders.add(1)
      took.record(0.2)
      open.add(1)
      logs.getLogger(options.service).emit({ body: 'an order' })
    },
    async stop() {
      await Promise.all([traces.shutdown(), metrics.shutdown(), logs.shutdown()])
    },
  }
}

function overGrpc({ address, certificate, token }: AgentOptions) {
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${token}`)
  const given = {
    url: `https://${address}`,
    metadata,
    credentials: credentials.createSsl(readFileSync(certificate)),
  }
  return {
    traces: new GrpcTraces(given),
    metrics: new GrpcMetrics(given),
    logs: new GrpcLogs(given),
  }
}

function overHttp({ address, certificate, token }: AgentOptions) {
  const given = (signal: string) => ({
    url: `https://${address}/v1/${signal}`,
    headers: { authorization: `Bearer ${token}` },
    httpAgentOptions: { ca: readFileSync(certificate) },
  })
  return {
    traces: new HttpTraces(given('traces')),
    metrics: new HttpMetrics(given('metrics')),
    logs: new HttpLogs(given('logs')),
  }
}
