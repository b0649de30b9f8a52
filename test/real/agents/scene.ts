/**
 * Agents that take their token from a file of their own, others that read it once at the start, and
 * collectors as agents: all sending at a steady rate through a gateway to a collector.
 */
import { createHash } from 'node:crypto'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { untilMetrics } from '../../support/metrics.ts'
import { type Otelcol, startOtelcol } from '../../support/otelcol.ts'
import { type Gateway, spawnGateway } from '../../support/spawn-gateway.ts'
import { hasTools } from '../../support/tools.ts'
import { PROVIDER_TOOLS, SENDER_TOOLS } from '../senders/run.ts'
import { type Agent, type Fate, startCast } from './cast.ts'

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
  const cast = stack.use(
    await startCast({
      agents,
      gateway,
      folder,
      credentials: (index) => ({ file: tokenFile(folder, index), token: secretOf('old', index) }),
    }),
  )
  await rotate(stageOf({ agents, gateway, backend, folder, set }))
  const reports = await cast.finish()
  await gateway.assertInvariant()
  await gateway.stop()
  // What the file exporter still holds is on the disk when it has stopped.
  await backend.stop()
  return await cast.fates(t, backend, reports)
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
