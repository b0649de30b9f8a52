/** Several SDKs sending at once through a gateway to a collector, while something happens to them. */
import { createHash } from 'node:crypto'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type Counted, type Otelcol, startOtelcol } from '../support/otelcol.ts'
import { type Gateway, spawnGateway } from '../support/spawn-gateway.ts'
import { hasTools } from '../support/tools.ts'
import { COUNTED, type Tally, tally } from './count.ts'
import { startBehindAgent } from './senders/agent.ts'
import { KINDS, type Kind, type Load, SENDER_TOOLS, startSender, titleOf } from './senders/run.ts'

const AGENT_KINDS: readonly Kind[] = [
  { language: 'go', protocol: 'grpc' },
  { language: 'go', protocol: 'http/protobuf' },
]

/** What became of one SDK's items. */
export interface Result {
  readonly title: string
  readonly tallies: Record<Counted, Tally>
  readonly logged: readonly string[]
}

/** What they do and meet. */
export interface Scene {
  /** `TOLLGATE_*` variables. */
  readonly env: Readonly<Record<string, string>>
  readonly load: Load
  /** Puts files into the gateway's folder before it starts. */
  readonly prepare?: (folder: string) => Promise<void>
  /** What happens while they send. */
  readonly meanwhile?: (backend: Otelcol, gateway: Gateway, tokens: TokenFile) => Promise<void>
  /** Fields of each token beside its id, holder and digest. */
  readonly token?: Readonly<Record<string, unknown>>
  /** Whether they send a token that is not in the set. */
  readonly isStranger?: boolean
  /** Whether they have to show a client certificate. */
  readonly asksCertificate?: boolean
  /** Awaited before anybody sends. */
  readonly ready?: (gateway: Gateway) => Promise<void>
  /** The name they call the gateway by, and what to run them under so that they know it. Default localhost. */
  readonly host?: { readonly name: string; readonly front: readonly string[] }
  /** Whether a collector sends, too, by each protocol. */
  readonly hasAgents?: boolean
}

/** The token set of the gateway. */
export interface TokenFile {
  readonly path: string
  /** Adds a token, replacing the file as a whole. */
  add(id: string): Promise<void>
}

/** How it went. */
export interface Played {
  readonly results: readonly Result[]
  readonly outcomes: Readonly<Record<string, number>>
}

/**
 * All SDKs at once, each with a token of its own. Prints what became of their items; undefined where
 * a program is missing and the test is skipped.
 */
export async function play(t: TestContext, scene: Scene): Promise<Played | undefined> {
  if (!hasTools(t, 'otelcol', 'openssl', ...SENDER_TOOLS)) return undefined
  await using backend = await startOtelcol()
  const cast = [
    ...KINDS.map((kind) => ({ title: titleOf(kind), kind, start: startSender })),
    ...(scene.hasAgents ? AGENT_KINDS : []).map((kind) => {
      return { title: `collector ${kind.protocol}`, kind, start: startBehindAgent }
    }),
  ]
  const tokens = cast.map(({ title }) => `secret-of-${title.replace(/\W/g, '-')}-0123456789`)
  await using file = await writeTokens(tokens, scene.token ?? {})
  await using gateway = await spawnGateway({
    ...(scene.prepare !== undefined && { prepare: scene.prepare }),
    asksCertificate: scene.asksCertificate ?? false,
    collector: { grpc: backend.grpc, http: backend.http },
    // All of them come from one address.
    env: {
      TOLLGATE_RATE: 'off',
      TOLLGATE_TOKENS: '',
      TOLLGATE_TOKENS_FILE: file.path,
      ...scene.env,
    },
  })
  await scene.ready?.(gateway)
  const senders = await Promise.all(
    cast.map(({ kind, start }, index) =>
      start(kind, targetOf(gateway, kind, scene, tokens[index]), scene.load),
    ),
  )
  await Promise.all(senders.map(({ started }) => started))
  await scene.meanwhile?.(backend, gateway, file)
  const reports = await Promise.all(senders.map(({ done }) => done))
  await gateway.assertInvariant()
  const outcomes = await gateway.outcomes()
  await gateway.stop()
  // What the file exporter still holds is on the disk when it has stopped.
  await backend.stop()
  const results: Result[] = []
  for (const [index, { run, sent, logged }] of reports.entries()) {
    const title = cast[index]?.title
    if (title === undefined) throw new Error('more reports than senders')
    const tallies = tally(await backend.received(run), sent)
    results.push({ title, tallies, logged })
  }
  print(t, results, outcomes)
  return { results, outcomes }
}

async function writeTokens(
  secrets: readonly string[],
  fields: Readonly<Record<string, unknown>>,
): Promise<TokenFile & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-tokens-'))
  const path = join(folder, 'tokens.json')
  const tokens: Record<string, unknown>[] = []
  const write = async (secret: string, id: string) => {
    const sha256 = createHash('sha256').update(secret).digest('hex')
    tokens.push({ id, holder: id, sha256, ...fields })
    await writeFile(`${path}.new`, JSON.stringify({ tokens }), { mode: 0o600 })
    await rename(`${path}.new`, path)
  }
  for (const [index, secret] of secrets.entries()) await write(secret, `t${index}`)
  return {
    path,
    add: (id) => write(`secret-of-${id}-0123456789abcdef`, id),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}

function targetOf(
  { grpc, http, certificate, clientCertificate, clientKey }: Gateway,
  { protocol }: Kind,
  { isStranger, asksCertificate, host }: Scene,
  token?: string,
) {
  const address = protocol === 'grpc' ? grpc : http
  return {
    endpoint: address.replace(/^.*:/, `https://${host?.name ?? 'localhost'}:`),
    token: isStranger ? 'nobody' : token,
    certificate,
    ...(asksCertificate && { clientCertificate, clientKey }),
    ...(host !== undefined && { front: host.front }),
  }
}

function print(t: TestContext, results: readonly Result[], outcomes: Played['outcomes']): void {
  const cell = ({ sent, arrived, duplicates }: Tally) =>
    `${arrived}/${sent}${duplicates > 0 ? ` +${duplicates}` : ''}`.padEnd(10)
  t.diagnostic(`${'SDK'.padEnd(26)}${COUNTED.map((signal) => signal.padEnd(10)).join('')}logged`)
  for (const { title, tallies, logged } of results) {
    const cells = COUNTED.map((signal) => cell(tallies[signal])).join('')
    const words = logged.length === 0 ? 'nothing' : `${logged.length} × ${oneLine(logged[0] ?? '')}`
    t.diagnostic(`${title.padEnd(26)}${cells}${words}`)
  }
  t.diagnostic(`outcomes ${JSON.stringify(outcomes)}`)
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').slice(0, 150)
}
