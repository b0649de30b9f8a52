/** Agents of every language that send at a steady rate until they are told to stop, and what became of it. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Child } from '../../support/child.ts'
import { type Counted, freePorts, type Otelcol } from '../../support/otelcol.ts'
import type { Gateway } from '../../support/spawn-gateway.ts'
import { tool } from '../../support/tools.ts'
import { COUNTED, type Tally, tally } from '../count.ts'
import {
  KINDS,
  type Kind,
  type Report,
  type Sender,
  startSender,
  type Target,
  titleOf,
} from '../senders/run.ts'

/** How an agent comes by its token. */
export interface Agent {
  readonly kind: Kind
  readonly token: 'provider' | 'static' | 'collector'
  /** What tells it from the others, where something does. */
  readonly note?: string
  /** More variables for it. */
  readonly env?: Readonly<Record<string, string>>
}

/** Python's gRPC exporter may be told to try again when it is refused. */
export const PATIENT_PYTHON: Agent = {
  kind: { language: 'python', protocol: 'grpc' },
  token: 'provider',
  note: 'patient',
  env: {
    OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES:
      'UNAUTHENTICATED,UNAVAILABLE,RESOURCE_EXHAUSTED,CANCELLED,DEADLINE_EXCEEDED,ABORTED',
  },
}

/** Every SDK with its provider, a collector for each protocol, and some that know no better. */
export const AGENTS: readonly Agent[] = [
  ...KINDS.map((kind): Agent => ({ kind, token: 'provider' })),
  { kind: { language: 'go', protocol: 'grpc' }, token: 'collector' },
  { kind: { language: 'go', protocol: 'http/protobuf' }, token: 'collector' },
  { kind: { language: 'python', protocol: 'http/protobuf' }, token: 'static' },
  { kind: { language: 'js', protocol: 'grpc' }, token: 'static' },
  { kind: { language: 'go', protocol: 'http/protobuf' }, token: 'static' },
  { kind: { language: 'java', protocol: 'grpc' }, token: 'static' },
]

/** `python grpc, provider` and so on. */
export function nameOf({ kind, token, note }: Agent): string {
  return `${titleOf(kind)}, ${note === undefined ? '' : `${note} `}${token}`
}

/** What became of an agent's items. */
export interface Fate {
  readonly agent: Agent
  readonly name: string
  readonly tallies: Record<Counted, Tally>
  /** How often each span arrived, by its number. */
  readonly spans: ReadonlyMap<number, number>
  readonly logged: readonly string[]
}

/** An item of each signal every 50 ms, for as long as it takes, and at most ten minutes. */
const STEADY = { items: 12_000, seconds: 600 }

/** Where an agent finds its token. */
export interface Credentials {
  /** Path of its token file. */
  readonly file: string
  /** The token in it at the start, for those that read it once. */
  readonly token: string
}

export interface CastOptions {
  readonly agents: readonly Agent[]
  readonly gateway: Gateway
  /** For their files. */
  readonly folder: string
  readonly credentials: (index: number) => Credentials
}

/** Agents at work. */
export interface Cast extends AsyncDisposable {
  /** Has them flush and end, and says what they sent. */
  finish(): Promise<readonly Report[]>
  /** Once the backend has stopped, so that all it received is on the disk: what became of it. Prints it. */
  fates(t: TestContext, backend: Otelcol, reports: readonly Report[]): Promise<readonly Fate[]>
}

/** Starts them all, and resolves when each has begun to send. */
export async function startCast(options: CastOptions): Promise<Cast> {
  const { agents, gateway, folder, credentials } = options
  const until = join(folder, 'stop')
  const collectors = new Map<Agent, Child>()
  const senders: Sender[] = []
  // However it ends, nobody goes on sending.
  const dispose = async () => {
    await writeFile(until, '').catch(() => {})
    for (const collector of collectors.values()) collector.kill('SIGKILL')
  }
  try {
    for (const [index, agent] of agents.entries()) {
      const { file, token } = credentials(index)
      let target = targetOf(gateway, agent, file, token)
      if (agent.token === 'collector') {
        const { child, endpoint } = await startAgent(folder, agent, target, file)
        collectors.set(agent, child)
        target = { endpoint }
      }
      senders.push(startSender(agent.kind, target, { ...STEADY, until }))
    }
    await Promise.all(senders.map(({ started }) => started))
  } catch (error) {
    await dispose()
    throw error
  }
  return {
    async finish() {
      await writeFile(until, '')
      const reports = await Promise.all(senders.map(({ done }) => done))
      for (const child of collectors.values()) {
        child.kill('SIGTERM')
        await child.exit
      }
      return reports
    },
    async fates(t, backend, reports) {
      const fates: Fate[] = []
      for (const [index, agent] of agents.entries()) {
        const report = reports[index]
        if (report === undefined) throw new Error('fewer reports than agents')
        const received = await backend.received(report.run)
        const tallies = tally(received, report.sent)
        const logged = [...report.logged, ...refusals(collectors.get(agent))]
        fates.push({ agent, name: nameOf(agent), tallies, spans: received.spans, logged })
      }
      print(t, fates)
      return fates
    },
    [Symbol.asyncDispose]: dispose,
  }
}

/** The collector as an agent, with the configuration that the documentation shows. */
async function startAgent(folder: string, agent: Agent, target: Target, file: string) {
  const [grpc, http] = await freePorts(2)
  const isGrpc = agent.kind.protocol === 'grpc'
  const shown = await readFile(new URL('collector/config.yaml', import.meta.url), 'utf8')
  const config = join(folder, `agent-${isGrpc ? 'grpc' : 'http'}.yaml`)
  const silent = '  telemetry: { metrics: { level: none } }\n'
  await writeFile(config, (isGrpc ? shown : shown.replaceAll('otlp_grpc', 'otlp_http')) + silent)
  const child = new Child(tool('otelcol'), ['--config', config], {
    env: {
      ...process.env,
      AGENT_GRPC: `127.0.0.1:${grpc}`,
      AGENT_HTTP: `127.0.0.1:${http}`,
      OTLP_TOKEN_FILE: file,
      GATEWAY: isGrpc ? target.endpoint.replace('https://', '') : target.endpoint,
      CA: target.certificate ?? '',
    },
  })
  await child.line('stderr', (line) => (line.includes('Everything is ready') ? true : undefined))
  return { child, endpoint: `http://127.0.0.1:${isGrpc ? grpc : http}` }
}

function targetOf(gateway: Gateway, agent: Agent, file: string, token: string): Target {
  const { grpc, http, certificate } = gateway
  const address = agent.kind.protocol === 'grpc' ? grpc : http
  return {
    endpoint: address.replace(/^.*:/, 'https://localhost:'),
    certificate,
    ...(agent.token === 'static' ? { token } : {}),
    ...(agent.token === 'provider' ? { tokenFile: file } : {}),
    ...(agent.env === undefined ? {} : { env: agent.env }),
  }
}

/** What a collector says of data it gave up. */
function refusals(collector: Child | undefined): string[] {
  return (collector?.stderr ?? []).filter((line) => /\terror\t/.test(line))
}

function print(t: TestContext, fates: readonly Fate[]): void {
  const cell = ({ sent, arrived, duplicates }: Tally) =>
    `${arrived}/${sent}${duplicates > 0 ? ` +${duplicates}` : ''}`.padEnd(12)
  t.diagnostic(`${'agent'.padEnd(32)}${COUNTED.map((signal) => signal.padEnd(12)).join('')}logged`)
  for (const { name, tallies, logged } of fates) {
    const first = (logged[0] ?? '').replace(/\s+/g, ' ').slice(0, 140)
    const words = logged.length === 0 ? 'nothing' : `${logged.length} × ${first}`
    t.diagnostic(
      `${name.padEnd(32)}${COUNTED.map((signal) => cell(tallies[signal])).join('')}${words}`,
    )
  }
}
