/**
 * The signals OTLP carries and where each is exported to: the gRPC method and the HTTP path.
 * opentelemetry-proto docs/specification.md, "OTLP/gRPC Request" and "OTLP/HTTP Request".
 */

/** Every signal, in the order they are shown. */
export const SIGNALS = ['traces', 'metrics', 'logs', 'profiles'] as const

/** One of the signals of OTLP. */
export type Signal = (typeof SIGNALS)[number]

/** The full gRPC method path of each signal. Case-sensitive. */
export const GRPC_PATHS = {
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
  profiles: '/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export',
} as const satisfies Record<Signal, string>

/** The HTTP path of each signal. */
export const HTTP_PATHS = {
  traces: '/v1/traces',
  metrics: '/v1/metrics',
  logs: '/v1/logs',
  profiles: '/v1development/profiles',
} as const satisfies Record<Signal, string>

const SIGNAL_OF_GRPC_PATH = new Map(SIGNALS.map((signal) => [GRPC_PATHS[signal] as string, signal]))
const SIGNAL_OF_HTTP_PATH = new Map(SIGNALS.map((signal) => [HTTP_PATHS[signal] as string, signal]))

/** The signal a gRPC method exports, or undefined for a method that is not OTLP's. */
export function signalFromGrpcPath(path: string): Signal | undefined {
  return SIGNAL_OF_GRPC_PATH.get(path)
}

/** The signal an HTTP path (without its query) takes, or undefined for a path that is not OTLP's. */
export function signalFromHttpPath(path: string): Signal | undefined {
  return SIGNAL_OF_HTTP_PATH.get(path)
}
