import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  JsonLogsSerializer,
  JsonMetricsSerializer,
  JsonTraceSerializer,
  ProtobufLogsSerializer,
  ProtobufMetricsSerializer,
  ProtobufTraceSerializer,
} from '@opentelemetry/otlp-transformer'
import {
  InMemoryLogRecordExporter,
  LoggerProvider,
  SimpleLogRecordProcessor,
} from '@opentelemetry/sdk-logs'
import { AggregationType, MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics'
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import fc from 'fast-check'
import { countItems, countJsonItems } from '../../../src/otlp/count.ts'
import { SIGNALS } from '../../../src/otlp/signal.ts'

class PulledReader extends MetricReader {
  protected override async onForceFlush(): Promise<void> {}
  protected override async onShutdown(): Promise<void> {}
}

test('spans of several scopes, with events, links and attributes', () => {
  const exporter = new InMemorySpanExporter()
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] })
  for (let number = 0; number < 25; number += 1) {
    const tracer = provider.getTracer(`scope ${number % 3}`)
    const span = tracer.startSpan(`span ${number}`, {
      attributes: { number, text: 'x'.repeat(300) },
    })
    span.addEvent('event', { number })
    span.addLink({ context: span.spanContext() })
    span.end()
  }
  const spans = exporter.getFinishedSpans()
  assert.equal(countItems('traces', bytes(ProtobufTraceSerializer.serializeRequest(spans))), 25)
  assert.equal(countJsonItems('traces', bytes(JsonTraceSerializer.serializeRequest(spans))), 25)
})

test('log records', () => {
  const exporter = new InMemoryLogRecordExporter()
  const provider = new LoggerProvider({ processors: [new SimpleLogRecordProcessor({ exporter })] })
  for (let number = 0; number < 7; number += 1)
    provider.getLogger(`scope ${number % 2}`).emit({ body: { number }, attributes: { a: [1, 2] } })
  const logs = exporter.getFinishedLogRecords()
  assert.equal(countItems('logs', bytes(ProtobufLogsSerializer.serializeRequest(logs))), 7)
  assert.equal(countJsonItems('logs', bytes(JsonLogsSerializer.serializeRequest(logs))), 7)
})

test('data points of every kind of metric', async () => {
  const reader = new PulledReader()
  const exponential = { type: AggregationType.EXPONENTIAL_HISTOGRAM } as const
  const provider = new MeterProvider({
    readers: [reader],
    views: [{ instrumentName: 'exponential', aggregation: exponential }],
  })
  const meter = provider.getMeter('scope')
  for (const series of ['a', 'b', 'c']) {
    meter.createCounter('counter').add(1, { series })
    meter.createHistogram('histogram').record(1, { series })
    meter.createHistogram('exponential').record(1, { series })
    meter.createGauge('gauge').record(1, { series })
  }
  const { resourceMetrics } = await reader.collect()
  const message = bytes(ProtobufMetricsSerializer.serializeRequest(resourceMetrics))
  assert.equal(countItems('metrics', message), 12)
  assert.equal(
    countJsonItems('metrics', bytes(JsonMetricsSerializer.serializeRequest(resourceMetrics))),
    12,
  )
})

test('an empty export has no items, and unknown fields are passed over', () => {
  assert.equal(countItems('traces', Buffer.alloc(0)), 0)
  // Fields 9 (number), 10 (8 bytes), 11 (4 bytes) and 12 (text) in front of one empty resource.
  const message = Buffer.from([
    ...[0x48, 0xff, 0xff, 0x03],
    ...[0x51, 1, 2, 3, 4, 5, 6, 7, 8],
    ...[0x5d, 1, 2, 3, 4],
    ...[0x62, 2, 0x61, 0x62],
    ...[0x0a, 0],
  ])
  for (const signal of SIGNALS) assert.equal(countItems(signal, message), 0)
  // A profile in a scope in a resource, and the dictionary beside it.
  const profile = Buffer.from([0x0a, 4, 0x12, 2, 0x12, 0, 0x12, 0])
  assert.equal(countItems('profiles', profile), 1)
})

test('what is cut off is an error', () => {
  const whole = Buffer.from([0x0a, 6, 0x12, 4, 0x12, 2, 0x08, 1])
  assert.equal(countItems('traces', whole), 1)
  for (let length = 1; length < whole.length; length += 1)
    assert.throws(() => countItems('traces', whole.subarray(0, length)), RangeError, `${length}`)
  assert.throws(() => countItems('traces', Buffer.from([0x00])), RangeError)
  assert.throws(() => countItems('traces', Buffer.from([0x0b])), RangeError)
  assert.throws(() => countItems('traces', Buffer.alloc(11, 0xff)), RangeError)
})

test('whatever the bytes, it counts or says that they are no message', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.constantFrom(...SIGNALS), (junk, signal) => {
      try {
        assert.ok(countItems(signal, junk) <= junk.length)
      } catch (error) {
        assert.ok(error instanceof RangeError)
      }
    }),
  )
})

function bytes(message: Uint8Array | undefined): Uint8Array {
  assert.ok(message !== undefined)
  return message
}
