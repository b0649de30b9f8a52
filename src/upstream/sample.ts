/** One trace, one metric and one log as an SDK would export them, to see whether they get through. */
import { randomBytes } from 'node:crypto'
import {
  ProtobufLogsSerializer,
  ProtobufMetricsSerializer,
  ProtobufTraceSerializer,
} from '@opentelemetry/otlp-transformer'

/** Signals there is a sample of. */
export const SAMPLE_SIGNALS = ['traces', 'metrics', 'logs'] as const
export type SampleSignal = (typeof SAMPLE_SIGNALS)[number]

type Spans = Parameters<typeof ProtobufTraceSerializer.serializeRequest>[0]
type Metrics = Parameters<typeof ProtobufMetricsSerializer.serializeRequest>[0]
type Logs = Parameters<typeof ProtobufLogsSerializer.serializeRequest>[0]
type Metric = Metrics['scopeMetrics'][number]['metrics'][number]
type Resource = Metrics['resource']

const NAME = 'tollgate-self-check'
const SCOPE = { name: NAME }
const RESOURCE_ATTRIBUTES = { 'service.name': NAME }

/** `DataPointType.SUM`, `AggregationTemporality.CUMULATIVE` and `ValueType.INT` of the SDK. */
const SUM = 3
const CUMULATIVE = 1
const INT = 0
const SAMPLED = 1
const INTERNAL_KIND = 0
const STATUS_OK = 1
const SEVERITY_INFO = 9

/** What a collector's answer says about what it did not take. */
export interface Rejection {
  readonly rejected: number
  readonly message: string
}

/** Export requests in protobuf, each with one item. The service is called `tollgate-self-check`. */
export function sampleRequests(wallMs: number): Record<SampleSignal, Uint8Array> {
  return {
    traces: written(ProtobufTraceSerializer.serializeRequest(spans(wallMs))),
    metrics: written(ProtobufMetricsSerializer.serializeRequest(metrics(wallMs))),
    logs: written(ProtobufLogsSerializer.serializeRequest(logs(wallMs))),
  }
}

/**
 * The partial success in an Export…ServiceResponse, or undefined for a full one. Throws where the
 * bytes are not such a response.
 */
export function readRejection(signal: SampleSignal, answer: Uint8Array): Rejection | undefined {
  if (signal === 'traces') {
    const { partialSuccess } = ProtobufTraceSerializer.deserializeResponse(answer)
    return rejection(partialSuccess?.rejectedSpans, partialSuccess?.errorMessage)
  }
  if (signal === 'metrics') {
    const { partialSuccess } = ProtobufMetricsSerializer.deserializeResponse(answer)
    return rejection(partialSuccess?.rejectedDataPoints, partialSuccess?.errorMessage)
  }
  const { partialSuccess } = ProtobufLogsSerializer.deserializeResponse(answer)
  return rejection(partialSuccess?.rejectedLogRecords, partialSuccess?.errorMessage)
}

function rejection(rejected = 0, message = ''): Rejection | undefined {
  return rejected > 0 || message !== '' ? { rejected, message } : undefined
}

function written(bytes: Uint8Array | undefined): Uint8Array {
  if (bytes === undefined) throw new TypeError('BUG: the sample could not be written down')
  return bytes
}

function spans(wallMs: number): Spans {
  const context = {
    traceId: randomBytes(16).toString('hex'),
    spanId: randomBytes(8).toString('hex'),
    traceFlags: SAMPLED,
  }
  return [
    {
      name: NAME,
      kind: INTERNAL_KIND,
      spanContext: () => context,
      startTime: hrTime(wallMs - 1),
      endTime: hrTime(wallMs),
      duration: [0, 1_000_000],
      status: { code: STATUS_OK },
      attributes: {},
      links: [],
      events: [],
      ended: true,
      resource: resource(),
      instrumentationScope: SCOPE,
      droppedAttributesCount: 0,
      droppedEventsCount: 0,
      droppedLinksCount: 0,
    },
  ]
}

function metrics(wallMs: number): Metrics {
  const metric = {
    descriptor: { name: 'tollgate.self_check', description: '', unit: '1', valueType: INT },
    aggregationTemporality: CUMULATIVE,
    dataPointType: SUM,
    isMonotonic: true,
    dataPoints: [
      { startTime: hrTime(wallMs - 1), endTime: hrTime(wallMs), attributes: {}, value: 1 },
    ],
  } as Metric
  return { resource: resource(), scopeMetrics: [{ scope: SCOPE, metrics: [metric] }] }
}

function logs(wallMs: number): Logs {
  return [
    {
      hrTime: hrTime(wallMs),
      hrTimeObserved: hrTime(wallMs),
      severityNumber: SEVERITY_INFO,
      severityText: 'INFO',
      body: 'The gateway sends this through its own front door.',
      resource: resource(),
      instrumentationScope: SCOPE,
      attributes: {},
      droppedAttributesCount: 0,
    },
  ]
}

function resource(): Resource {
  const made: Resource = {
    attributes: RESOURCE_ATTRIBUTES,
    merge: () => made,
    getRawAttributes: () => Object.entries(RESOURCE_ATTRIBUTES),
  }
  return made
}

/** Seconds and nanoseconds. */
function hrTime(wallMs: number): [number, number] {
  const seconds = Math.floor(wallMs / 1000)
  return [seconds, Math.round((wallMs - seconds * 1000) * 1e6)]
}
