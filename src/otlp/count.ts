/** Counts what an export carries: spans, data points, log records, profiles. */
import { fieldsOf } from './protobuf.ts'
import type { Signal } from './signal.ts'

/** Field numbers that lead to the items; a leaf counts. */
type Way = true | { readonly [field: number]: Way }

/** Export…ServiceRequest → Resource… → Scope… → items. opentelemetry-proto, all four services. */
const WAYS = {
  traces: { 1: { 2: { 2: true } } },
  // Metric.data is one of gauge, sum, histogram, exponential histogram and summary.
  metrics: {
    1: {
      2: {
        2: { 5: { 1: true }, 7: { 1: true }, 9: { 1: true }, 10: { 1: true }, 11: { 1: true } },
      },
    },
  },
  logs: { 1: { 2: { 2: true } } },
  profiles: { 1: { 2: { 2: true } } },
} as const satisfies Record<Signal, Way>

/** The same in JSON (lowerCamelCase names). */
const JSON_WAYS = {
  traces: [['resourceSpans'], ['scopeSpans'], ['spans']],
  metrics: [
    ['resourceMetrics'],
    ['scopeMetrics'],
    ['metrics'],
    ['gauge', 'sum', 'histogram', 'exponentialHistogram', 'summary'],
    ['dataPoints'],
  ],
  logs: [['resourceLogs'], ['scopeLogs'], ['logRecords']],
  profiles: [['resourceProfiles'], ['scopeProfiles'], ['profiles']],
} as const satisfies Record<Signal, readonly (readonly string[])[]>

/**
 * Items in an uncompressed protobuf export request.
 * @throws RangeError where it is not one.
 */
export function countItems(signal: Signal, message: Uint8Array): number {
  return countAlong(message, WAYS[signal])
}

/**
 * Items in a JSON export request.
 * @throws SyntaxError where it is not JSON.
 */
export function countJsonItems(signal: Signal, message: Uint8Array): number {
  let nodes: unknown[] = [JSON.parse(Buffer.from(message).toString())]
  for (const names of JSON_WAYS[signal]) {
    nodes = nodes.flatMap((node) => names.flatMap((name) => child(node, name)))
  }
  return nodes.length
}

function countAlong(message: Uint8Array, way: Exclude<Way, true>): number {
  let count = 0
  for (const { number, bytes } of fieldsOf(message)) {
    const next = way[number]
    if (next === undefined || bytes === undefined) continue
    count += next === true ? 1 : countAlong(bytes, next)
  }
  return count
}

function child(node: unknown, name: string): unknown[] {
  if (typeof node !== 'object' || node === null) return []
  const value = (node as Readonly<Record<string, unknown>>)[name]
  if (value === undefined || value === null) return []
  return Array.isArray(value) ? value : [value]
}
