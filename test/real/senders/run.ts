/** Runs a real OpenTelemetry SDK that sends numbered items, and tells what it logged. */
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { Child } from '../../support/child.ts'
import { tool } from '../../support/tools.ts'

const HERE = fileURLToPath(new URL('.', import.meta.url))

/** A language's SDK. */
export type Language = 'python' | 'js' | 'go' | 'java'

/** One SDK with one protocol. */
export interface Kind {
  readonly language: Language
  readonly protocol: 'grpc' | 'http/protobuf' | 'http/json'
}

/** Every SDK with every protocol it has. */
export const KINDS: readonly Kind[] = [
  { language: 'python', protocol: 'grpc' },
  { language: 'python', protocol: 'http/protobuf' },
  { language: 'js', protocol: 'grpc' },
  { language: 'js', protocol: 'http/protobuf' },
  { language: 'js', protocol: 'http/json' },
  { language: 'go', protocol: 'grpc' },
  { language: 'go', protocol: 'http/protobuf' },
  { language: 'java', protocol: 'grpc' },
  { language: 'java', protocol: 'http/protobuf' },
]

/** What the senders need of `.ci/tools`. */
export const SENDER_TOOLS = ['python-sender', 'go-sender', 'java', 'java-sender']
/** What senders with a `tokenFile` need besides. */
export const PROVIDER_TOOLS = ['python-provider', 'java-provider']

/** `python http/protobuf` and so on. */
export function titleOf({ language, protocol }: Kind): string {
  return `${language} ${protocol}`
}

/** Where to send, in the words of the standard variables. */
export interface Target {
  /** `https://localhost:4317` */
  readonly endpoint: string
  /** Bearer token; none is sent without. */
  readonly token?: string | undefined
  /** Path of a file with the token, for the credential provider of the language. */
  readonly tokenFile?: string | undefined
  /** Path of the CA certificate in PEM. */
  readonly certificate?: string | undefined
  /** Paths of the client's own certificate and its key. */
  readonly clientCertificate?: string
  readonly clientKey?: string
  /** Put in front of the program and its arguments, such as a command that runs it elsewhere. */
  readonly front?: readonly string[]
  /** None as shipped. */
  readonly compression?: 'gzip'
  /** More variables. */
  readonly env?: Readonly<Record<string, string>>
}

export interface Load {
  /** Items of each signal. */
  readonly items: number
  /** Over how long they are spread, in seconds. */
  readonly seconds: number
  /** Path of a file: no more items once it is there. */
  readonly until?: string
}

/** What an SDK said at the end. */
export interface Report {
  readonly run: string
  /** Items of each signal that were produced. */
  readonly sent: number
  /** The lines the SDK logged. */
  readonly logged: readonly string[]
}

/** A running sender. */
export interface Sender {
  /** Its items carry this as `run`. */
  readonly run: string
  /** Settles when the first item is made. */
  readonly started: Promise<void>
  /** Settles when all has been flushed and the SDK is shut down. */
  readonly done: Promise<Report>
}

/**
 * Starts a sender with the exporter settings as shipped. Only how often batches leave is shortened to
 * half a second, and metrics are sent as differences, so that each point is sent once.
 */
export function startSender(kind: Kind, target: Target, load: Load): Sender {
  const run = randomBytes(6).toString('hex')
  const [sender, args] = commandOf(kind.language, target.tokenFile !== undefined)
  const { items, seconds, until } = load
  args.push('--run', run, '--items', String(items), '--duration', String(seconds))
  if (until !== undefined) args.push('--until', until)
  const [program = sender, ...rest] = [...(target.front ?? []), sender, ...args]
  const child = new Child(program, rest, { env: environmentOf(kind, target) })
  const started = child.line('stdout', (line) => (eventOf(line) === 'started' ? true : undefined))
  const done = finish(child, run, seconds)
  // Whoever waits for one of the two learns of the failure; the other must not be unhandled.
  started.catch(() => {})
  done.catch(() => {})
  return { run, started: started.then(() => {}), done }
}

async function finish(child: Child, run: string, seconds: number): Promise<Report> {
  const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000 + 120_000)
  const { code } = await child.exit
  clearTimeout(timer)
  const last = child.stdout.find((line) => eventOf(line) === 'done')
  if (code !== 0 || last === undefined)
    throw new Error(`the sender ended with code ${code}: ${child.output}`)
  const { sent, logged } = JSON.parse(last) as { sent: number; logged: string[] }
  return { run, sent, logged: [...logged, ...child.stderr] }
}

function eventOf(line: string): unknown {
  return line.startsWith('{') ? (JSON.parse(line) as { event?: unknown }).event : undefined
}

function commandOf(language: Language, hasProvider: boolean): [program: string, args: string[]] {
  switch (language) {
    case 'python':
      return [tool('python-sender'), [`${HERE}python/sender.py`]]
    case 'js':
      return [process.execPath, [`${HERE}js/sender.ts`]]
    case 'go':
      return [tool('go-sender'), []]
    case 'java': {
      const jar = tool('java-sender')
      const classPath = [jar, jar.replace(/[^/]*$/, 'dependency/*')]
      if (hasProvider) classPath.push(tool('java-provider'))
      return [tool('java'), ['-XX:TieredStopAtLevel=1', '-cp', classPath.join(':'), 'Sender']]
    }
  }
}

/** Variables of the machine that would change where, or whom to trust, the SDKs send. */
const MEDDLING =
  /^(OTEL_|OTLP_TOKEN_|PYTHONPATH$|REQUESTS_CA_BUNDLE$|CURL_CA_BUNDLE$|SSL_CERT_|NODE_|(https?|all|no)_proxy$)/i

function environmentOf({ protocol }: Kind, target: Target): Record<string, string | undefined> {
  const inherited = Object.entries(process.env).filter(([name]) => !MEDDLING.test(name))
  const { token, tokenFile } = target
  return {
    ...Object.fromEntries(inherited),
    OTEL_EXPORTER_OTLP_ENDPOINT: target.endpoint,
    OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
    OTEL_EXPORTER_OTLP_HEADERS: token === undefined ? undefined : `Authorization=Bearer%20${token}`,
    OTEL_EXPORTER_OTLP_CERTIFICATE: target.certificate,
    OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: target.clientCertificate,
    OTEL_EXPORTER_OTLP_CLIENT_KEY: target.clientKey,
    OTEL_EXPORTER_OTLP_COMPRESSION: target.compression,
    OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: 'delta',
    OTEL_BSP_SCHEDULE_DELAY: '500',
    OTEL_BLRP_SCHEDULE_DELAY: '500',
    OTEL_SERVICE_NAME: 'tollgate-test',
    ...(tokenFile === undefined
      ? {}
      : {
          OTLP_TOKEN_FILE: tokenFile,
          OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER: 'otlp_token_http',
          OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER: 'otlp_token_grpc',
          PYTHONPATH: tool('python-provider'),
        }),
    ...target.env,
  }
}
