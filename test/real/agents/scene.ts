/**
 * Agents that take their token from a file of their own, others that read it once at the start, and
 * collectors as agents: all sending at a steady rate through a gateway to a collector.
 */
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Child } from '../../support/child.ts'
import { untilMetrics } from '../../support/metrics.ts'
import { type Counted, freePorts, type Otelcol, startOtelcol } from '../../support/otelcol.ts'
import { type Gateway, spawnGateway } from '../../support/spawn-gateway.ts'
import { hasTools, tool } from '../../support/tools.ts'
import { COUNTED, type Tally, tally } from '../count.ts'
import {
  KINDS,
  type Kind,
  type Load,
  PROVIDER_TOOLS,
  SENDER_TOOLS,
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

/** What a test can do while they send. Tokens are known by the number of their agent. */
export interface Stage {
  readonly agents: readonly Agent[]
  readonly gateway: Gateway
  readonly backend: Otelcol
  /** Puts a token set in force: whether each agent's old and new token are valid, revoked, or not in it. */
  admit(old: 'valid' | 'revoked', newer: 'valid' | 'absent'): Promise<void>
  /** Replaces the token files, as a delivery does. */
  deliver(): Promise<void>
  /** Waits until each of these agents has had so many requests more admitted with a token of its. */
  untilUsed(which: 'old' | 'new', agents: readonly Agent[], requests: number): Promise<void>
  /** Waits until requests with a revoked token have been refused so often. */
  untilRefused(requests: number): Promise<void>
}

/** An item of each signal every 50 ms, for as long as it takes, and at most ten minutes. */
const STEADY = { items: 12_000, seconds: 600 }

/** Plays a rotation; undefined where a program is missing and the test is skipped. */
export async function playAgents(
  t: TestContext,
  agents: readonly Agent[],
  rotate: (stage: Stage) => Promise<void>,
): Promise<readonly Fate[] | undefined> {
  if (!hasTools(t, 'otelcol', 'openssl', ...SENDER_TOOLS, ...PROVIDER_TOOLS)) return undefined
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-agents-'))
  await using stack = new AsyncDisposableStack()
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const backend = stack.use(await startOtelcol())
  const set = join(folder, 'tokens.json')
  await replace(set, tokenSet(agents, 'valid', 'absent'))
  await deliver(folder, agents, 'old')
  const gateway = stack.use(
    await spawnGateway({
      collector: { grpc: backend.grpc, http: backend.http },
      env: {
        // All of them come from one address.
        TOLLGATE_RATE: 'off',
        TOLLGATE_TOKENS: '',
        TOLLGATE_TOKENS_FILE: set,
      },
    }),
  )
  const until = join(folder, 'stop')
  const collectors = new Map<Agent, Child>()
  // However it ends, nobody goes on sending.
  stack.defer(async () => {
    await writeFile(until, '').catch(() => {})
    for (const collector of collectors.values()) collector.kill('SIGKILL')
  })
  const senders: Sender[] = []
  for (const [index, agent] of agents.entries()) {
    const file = tokenFile(folder, index)
    let target = targetOf(gateway, agent, file, secretOf('old', index))
    if (agent.token === 'collector') {
      const { child, endpoint } = await startAgent(folder, agent, target, file)
      collectors.set(agent, child)
      target = { endpoint }
    }
    senders.push(startSender(agent.kind, target, { ...STEADY, until } satisfies Load))
  }
  await Promise.all(senders.map(({ started }) => started))
  await rotate(stageOf({ agents, gateway, backend, folder, set }))
  await writeFile(until, '')
  const reports = await Promise.all(senders.map(({ done }) => done))
  for (const child of collectors.values()) {
    child.kill('SIGTERM')
    await child.exit
  }
  await gateway.assertInvariant()
  await gateway.stop()
  // What the file exporter still holds is on the disk when it has stopped.
  await backend.stop()
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
}

function stageOf(parts: {
  agents: readonly Agent[]
  gateway: Gateway
  backend: Otelcol
  folder: string
  set: string
}): Stage {
  const { agents, gateway, backend, folder, set } = parts
  let loads = 1
  const usedBy = (page: Awaited<ReturnType<Gateway['metrics']>>, id: string) =>
    (page.get('tollgate_token_requests_total') ?? [])
      .filter(({ labels }) => labels.token === id)
      .reduce((sum, { value }) => sum + value, 0)
  return {
    agents,
    gateway,
    backend,
    async admit(old, newer) {
      loads += 1
      await replace(set, tokenSet(agents, old, newer))
      await gateway.logged('tokens_loaded', loads)
    },
    deliver: () => deliver(folder, agents, 'new'),
    async untilUsed(which, users, requests) {
      const ids = users.map((agent) => `${which}-${agents.indexOf(agent)}`)
      const before = await gateway.metrics()
      const isUsed = (page: typeof before) =>
        ids.every((id) => usedBy(page, id) >= usedBy(before, id) + requests)
      await untilMetrics(() => gateway.metrics(), isUsed, `${requests} requests more of ${ids}`)
    },
    async untilRefused(requests) {
      const isRefused = (page: Awaited<ReturnType<Gateway['metrics']>>) =>
        (page.get('tollgate_outcomes_total') ?? [])
          .filter(({ labels }) => labels.outcome === 'token_expired')
          .reduce((sum, { value }) => sum + value, 0) >= requests
      await untilMetrics(() => gateway.metrics(), isRefused, `${requests} refusals`)
    },
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

function tokenFile(folder: string, index: number): string {
  return join(folder, `token-${index}`)
}

function secretOf(which: 'old' | 'new', index: number): string {
  return `${which}-secret-of-agent-${index}-0123456789abcdef`
}

async function deliver(folder: string, agents: readonly Agent[], which: 'old' | 'new') {
  for (const index of agents.keys())
    await replace(tokenFile(folder, index), `${secretOf(which, index)}\n`)
}

async function replace(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text, { mode: 0o600 })
  await rename(`${path}.new`, path)
}

function tokenSet(
  agents: readonly Agent[],
  old: 'valid' | 'revoked',
  newer: 'valid' | 'absent',
): string {
  const entry = (which: 'old' | 'new', index: number) => ({
    id: `${which}-${index}`,
    holder: `agent-${index}`,
    sha256: createHash('sha256').update(secretOf(which, index)).digest('hex'),
  })
  const revoked = old === 'revoked' ? { revokedAt: new Date().toISOString() } : {}
  const tokens = [...agents.keys()].flatMap((index) => [
    { ...entry('old', index), ...revoked },
    ...(newer === 'valid' ? [entry('new', index)] : []),
  ])
  return JSON.stringify({ tokens })
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
