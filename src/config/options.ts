/**
 * The one table of options. Type, `--help`, `docs/configuration.md` and `tollgate check` come from
 * it. Rows stay in the order in which they are shown.
 */
import { ACME_OPTIONS } from './acme-options.ts'
import { addressRange, collectorUrl, exemptRange, listenAddress } from './addresses.ts'
import { JWT_OPTIONS } from './jwt-options.ts'
import { type Kind, listOf, orOff } from './kind.ts'
import { type Option, option } from './option.ts'
import { PLACE_OPTIONS } from './place-options.ts'
import { tokenPlace } from './places.ts'
import { byteRate, count, duration, rate, size } from './quantities.ts'
import { TLS_OPTIONS } from './tls-options.ts'
import { headerName, oneOf, path, secret } from './words.ts'

const NONE: readonly never[] = Object.freeze([])
const MAX_COUNT = 1_000_000_000

/** Every option, under the name of its setting. */
export const OPTIONS = {
  grpcListen: option({
    env: 'TOLLGATE_GRPC_LISTEN',
    group: 'Listening',
    kind: orOff(listenAddress()),
    default: '[::]:4317',
    about: 'Public port for OTLP/gRPC. It takes OTLP/HTTP as well: the content type decides.',
  }),
  httpListen: option({
    env: 'TOLLGATE_HTTP_LISTEN',
    group: 'Listening',
    kind: orOff(listenAddress()),
    default: '[::]:4318',
    about: 'Public port for OTLP/HTTP. It takes OTLP/gRPC as well.',
  }),
  adminListen: option({
    env: 'TOLLGATE_ADMIN_LISTEN',
    group: 'Listening',
    kind: orOff(listenAddress()),
    default: '127.0.0.1:9464',
    about:
      'Private port for /metrics, /tokens, /healthz and /readyz. Do not open it to the internet.',
  }),

  collectorGrpc: option({
    env: 'TOLLGATE_COLLECTOR_GRPC',
    group: 'Collector',
    kind: listOf(collectorUrl({ defaultPort: 4317, takesPath: false })),
    unset: NONE,
    about: 'Where the collector takes OTLP/gRPC, such as http://collector:4317.',
  }),
  collectorHttp: option({
    env: 'TOLLGATE_COLLECTOR_HTTP',
    group: 'Collector',
    kind: listOf(collectorUrl({ defaultPort: 4318, takesPath: true })),
    unset: NONE,
    about:
      'Where the collector takes OTLP/HTTP, such as http://collector:4318; a path goes before /v1/traces. Either of the two is enough.',
  }),
  collectorCa: option({
    env: 'TOLLGATE_COLLECTOR_CA',
    group: 'Collector',
    kind: path(),
    about: "PEM file with the CA of an https:// collector, where the system's CAs do not know it.",
  }),
  collectorTimeoutMs: option({
    env: 'TOLLGATE_COLLECTOR_TIMEOUT',
    group: 'Collector',
    kind: duration({ min: '100ms', max: '1h' }),
    default: '30s',
    about: "How long the collector may take to answer; a client's own deadline may be shorter.",
  }),
  forwardHeaders: option({
    env: 'TOLLGATE_FORWARD_HEADERS',
    group: 'Collector',
    kind: listOf(headerName()),
    unset: NONE,
    about: 'Further request headers that are passed on to the collector, such as x-tenant.',
  }),

  ...TLS_OPTIONS,
  ...ACME_OPTIONS,

  tokensFile: option({
    env: 'TOLLGATE_TOKENS_FILE',
    group: 'Tokens',
    kind: path(),
    about: 'JSON file with the token set, as `tollgate token` writes it; watched.',
  }),
  tokenGraceMs: option({
    env: 'TOLLGATE_TOKEN_GRACE',
    group: 'Tokens',
    kind: orOff(duration({ min: '1s', max: '366d' }), 0),
    default: 'off',
    about:
      'How long after its end a token is still accepted, until its holder has used a newer one; a revoked one never is.',
  }),
  tokens: option({
    env: 'TOLLGATE_TOKENS',
    group: 'Tokens',
    kind: secret('holder=token, …'),
    isSecret: true,
    about: 'Tokens in plain, for the smallest set-up.',
  }),
  tokensSource: option({
    env: 'TOLLGATE_TOKENS_SOURCE',
    group: 'Tokens',
    kind: listOf(tokenPlace()),
    unset: NONE,
    about:
      'Where token sets come from besides: file:PATH, vault:MOUNT/PATH, aws:SECRET-ID; env is TOLLGATE_TOKENS.',
  }),
  tokensPollMs: option({
    env: 'TOLLGATE_TOKENS_POLL',
    group: 'Tokens',
    kind: duration({ min: '1s', max: '1h' }),
    default: '30s',
    about: 'How often Vault and AWS are asked for the token set, give or take a fifth.',
  }),
  ...PLACE_OPTIONS,
  ...JWT_OPTIONS,

  rate: option({
    env: 'TOLLGATE_RATE',
    group: 'Budgets',
    kind: orOff(rate()),
    default: '100/s',
    about: 'Requests that an address may make on average.',
  }),
  burst: option({
    env: 'TOLLGATE_BURST',
    group: 'Budgets',
    kind: count({ min: 1, max: MAX_COUNT }),
    default: '200',
    about: 'Requests that an address may make at once after a pause.',
  }),
  bytes: option({
    env: 'TOLLGATE_BYTES',
    group: 'Budgets',
    kind: orOff(byteRate()),
    default: 'off',
    about: 'Bytes of messages that an address may send on average.',
  }),
  peerInFlight: option({
    env: 'TOLLGATE_IN_FLIGHT',
    group: 'Budgets',
    kind: orOff(count({ min: 1, max: MAX_COUNT })),
    default: '256',
    about: 'Requests of one address that are forwarded at the same time.',
  }),
  tokenRate: option({
    env: 'TOLLGATE_TOKEN_RATE',
    group: 'Budgets',
    kind: orOff(rate()),
    default: 'off',
    about: 'Requests that may be made with one token on average. The token set may say otherwise.',
  }),
  tokenBurst: option({
    env: 'TOLLGATE_TOKEN_BURST',
    group: 'Budgets',
    kind: orOff(count({ min: 1, max: MAX_COUNT })),
    default: 'off',
    about:
      "Requests that may be made with one token at once after a pause; off: two seconds' worth of its rate.",
  }),
  tokenBytesPerSecond: option({
    env: 'TOLLGATE_TOKEN_BYTES',
    group: 'Budgets',
    kind: orOff(byteRate()),
    default: 'off',
    about: 'Bytes of messages that may be sent with one token on average.',
  }),
  tokenInFlight: option({
    env: 'TOLLGATE_TOKEN_IN_FLIGHT',
    group: 'Budgets',
    kind: orOff(count({ min: 1, max: MAX_COUNT })),
    default: 'off',
    about: 'Requests with one token that are forwarded at the same time.',
  }),

  holdMs: option({
    env: 'TOLLGATE_HOLD',
    group: 'Waiting',
    kind: orOff(duration({ min: '1ms', max: '5m' }), 0),
    default: '8s',
    about:
      'How long a request over its budget, or one that finds the collector away, may wait before it is refused.',
  }),
  maxHeld: option({
    env: 'TOLLGATE_MAX_HELD',
    group: 'Waiting',
    kind: count({ min: 1, max: 1_000_000 }),
    default: '1000',
    about: 'Requests that wait at the same time; one token may hold a tenth of them.',
  }),

  banStrikes: option({
    env: 'TOLLGATE_BAN_STRIKES',
    group: 'Bans',
    kind: orOff(count({ min: 1, max: 1_000_000 })),
    default: '5',
    about: 'Requests without a token or with an unknown one that ban an address; off for no bans.',
  }),
  banWindowMs: option({
    env: 'TOLLGATE_BAN_WINDOW',
    group: 'Bans',
    kind: duration({ min: '1s', max: '7d' }),
    default: '60s',
    about: 'The time within which so many strikes must fall.',
  }),
  banMs: option({
    env: 'TOLLGATE_BAN_TIME',
    group: 'Bans',
    kind: duration({ min: '1s', max: '30d' }),
    default: '1h',
    about: 'Length of the first ban; each further one is twice as long, up to 30 days.',
  }),
  banExempt: option({
    env: 'TOLLGATE_BAN_EXEMPT',
    group: 'Bans',
    kind: orNone(listOf(exemptRange())),
    default: 'loopback,private',
    about: 'Addresses that never collect strikes; behind a NAT or a proxy they are everybody.',
  }),

  trustedProxies: option({
    env: 'TOLLGATE_TRUSTED_PROXIES',
    group: 'Addresses of clients',
    kind: listOf(addressRange()),
    unset: NONE,
    about: "Proxies in front of the gateway that are believed when they name the client's address.",
  }),
  clientAddress: option({
    env: 'TOLLGATE_CLIENT_ADDRESS',
    group: 'Addresses of clients',
    kind: oneOf('socket', 'proxy-protocol', 'x-forwarded-for'),
    default: 'socket',
    about: "Where a client's address is read; the latter two from trusted proxies only.",
  }),

  maxBodyBytes: option({
    env: 'TOLLGATE_MAX_BODY',
    group: 'Bounds',
    kind: size({ min: '1KiB', max: '2GiB' }),
    default: '64MiB',
    about: 'Largest message, as it is sent and after decompression.',
  }),
  maxConnections: option({
    env: 'TOLLGATE_MAX_CONNECTIONS',
    group: 'Bounds',
    kind: count({ min: 1, max: 10_000_000 }),
    default: '10000',
    about: 'Connections at the same time, in all.',
  }),
  maxConnectionsPerPeer: option({
    env: 'TOLLGATE_MAX_CONNECTIONS_PER_PEER',
    group: 'Bounds',
    kind: count({ min: 1, max: 10_000_000 }),
    default: '256',
    about: 'Connections at the same time from one address.',
  }),
  maxStreams: option({
    env: 'TOLLGATE_MAX_STREAMS',
    group: 'Bounds',
    kind: count({ min: 1, max: 100_000 }),
    default: '250',
    about: 'Requests at the same time on one HTTP/2 connection.',
  }),
  maxInFlightBytes: option({
    env: 'TOLLGATE_MAX_IN_FLIGHT_BYTES',
    group: 'Bounds',
    kind: size({ min: '1KiB', max: '1024GiB' }),
    default: '256MiB',
    about: 'Memory for messages on their way; what comes beyond it is asked to come back.',
  }),
  handshakeTimeoutMs: option({
    env: 'TOLLGATE_HANDSHAKE_TIMEOUT',
    group: 'Bounds',
    kind: duration({ min: '100ms', max: '5m' }),
    default: '10s',
    about: 'Longest TLS handshake, PROXY header included.',
  }),
  headerTimeoutMs: option({
    env: 'TOLLGATE_HEADER_TIMEOUT',
    group: 'Bounds',
    kind: duration({ min: '100ms', max: '5m' }),
    default: '10s',
    about: 'Longest time from the first byte of a request to the end of its headers.',
  }),
  bodyTimeoutMs: option({
    env: 'TOLLGATE_BODY_TIMEOUT',
    group: 'Bounds',
    kind: duration({ min: '100ms', max: '1h' }),
    default: '15s',
    about: 'Longest pause between two pieces of a body.',
  }),
  idleTimeoutMs: option({
    env: 'TOLLGATE_IDLE_TIMEOUT',
    group: 'Bounds',
    kind: duration({ min: '1s', max: '7d' }),
    default: '5m',
    about: 'A connection without a request is closed after this time.',
  }),

  parent: option({
    env: 'TOLLGATE_PARENT',
    group: 'Running',
    kind: oneOf('on', 'off'),
    default: 'on',
    about:
      'Whether a small process of its own holds the ports, so that they stay open while the gateway restarts or after it crashed.',
  }),
  drainMs: option({
    env: 'TOLLGATE_DRAIN_TIME',
    group: 'Running',
    kind: duration({ min: '0s', max: '1h' }),
    default: '10s',
    about: 'How long a stop waits for requests under way.',
  }),
  logLevel: option({
    env: 'TOLLGATE_LOG_LEVEL',
    group: 'Running',
    kind: oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
    default: 'info',
    about: 'The least important lines that are logged.',
  }),
  logFormat: option({
    env: 'TOLLGATE_LOG_FORMAT',
    group: 'Running',
    kind: oneOf('auto', 'json', 'text'),
    default: 'auto',
    about: 'How lines are written; auto: text on a terminal, JSON elsewhere.',
  }),
  auditLog: option({
    env: 'TOLLGATE_AUDIT_LOG',
    group: 'Running',
    kind: path(),
    about: 'File for refused credentials and bans, in the format that fail2ban reads.',
  }),
  stateDir: option({
    env: 'TOLLGATE_STATE_DIR',
    group: 'Running',
    kind: path(),
    default: '.tollgate',
    about:
      'Directory for what outlives a restart: the development certificate and token, and bans.',
  }),
}

/** The name of a setting. */
export type SettingName = keyof typeof OPTIONS

/** The values of the table, one for each row. */
export type Settings = {
  readonly [K in SettingName]: (typeof OPTIONS)[K] extends Option<infer T> ? T : never
}

/** The same kind with the word `none` for an empty list. */
function orNone<T>(kind: Kind<readonly T[]>): Kind<readonly T[]> {
  return {
    form: `${kind.form} | none`,
    parse: (text, surroundings) => (text === 'none' ? NONE : kind.parse(text, surroundings)),
  }
}
