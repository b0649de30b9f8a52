/** A server with Dokploy's layout on it, in an engine of its own, and clients from the internet. */
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { blueprintOf, importTextOf, type Way } from '../../docker/dokploy/import.ts'
import { runToEnd } from '../support/child.ts'
import { type Ended, type Engine, startEngine } from '../support/docker-engine.ts'
import { reach } from '../support/docker-reach.ts'
import { FakeDokploy } from '../support/dokploy.ts'
import { type Imported, layOut } from '../support/dokploy-template.ts'

export const APP = 'shop-tollgate-a1b2c3'
export const DOMAIN = 'otlp.example.com'
/** The server's address on the internet, and an agent's. */
export const SERVER = '203.0.113.10'
export const AGENT = '203.0.113.9'
/** Its image cannot be had. */
const ABSENT = 'grafana'
const PATIENCE_MS = 120_000

export interface Server {
  readonly engine: Engine
  /** What is `/etc/dokploy` there. */
  readonly base: string
  /** Has Dokploy's import take the text for a way in. */
  import(way: Way): Promise<Imported>
  /** As *Deploy* does; `env` in place of the template's. */
  deploy(imported: Imported, env: string): Promise<void>
  /** `docker compose …` for the deployment. */
  compose(...args: string[]): Promise<string>
  /** A `host:port` of the test's own for a port that is not published. */
  inside(service: string, port: number): Promise<string>
  /** Resolves when the gateway is healthy. */
  untilHealthy(): Promise<void>
}

/** It ends with the test. */
export async function startServer(t: TestContext): Promise<Server> {
  const engine = await startEngine(t)
  const base = join(engine.folder, 'dokploy')
  const code = join(base, 'compose', APP, 'code')
  await mkdir(join(base, 'traefik/dynamic'), { recursive: true })
  for (const address of [SERVER, AGENT]) {
    const { code, stderr } = await engine.runInside(
      ...(['ip', 'address', 'add', `${address}/32`, 'dev', 'lo'] as const),
    )
    assert.equal(code, 0, stderr)
  }
  // An isolated deployment's own.
  await engine.docker(['network', 'create', '--attachable', APP])
  const compose = (...args: string[]) =>
    engine.compose(['-p', APP, '-f', './docker-compose.yml', ...args], { cwd: code })
  return {
    engine,
    base,
    compose,
    import: importWay,
    async deploy(imported, env) {
      await layOut(base, APP, { ...imported, env })
      const services = (await compose('config', '--services')).trim().split('\n')
      const runnable = services.filter((name) => name !== ABSENT)
      await compose('up', '--detach', '--build', '--remove-orphans', ...runnable)
    },
    async inside(service, port) {
      const format = `{{(index .NetworkSettings.Networks "${APP}").IPAddress}}`
      const address = await engine.docker(['inspect', '--format', format, `${APP}-${service}-1`])
      return `127.0.0.1:${await reach(t, engine, address.trim(), port)}`
    },
    async untilHealthy() {
      const format = '{{.State.Health.Status}}'
      await until(
        async () => {
          const args = ['inspect', '--format', format, `${APP}-tollgate-1`]
          return (await engine.attempt(args)).stdout.trim() === 'healthy'
        },
        () => 'a healthy gateway',
      )
    },
  }
}

async function importWay(way: Way): Promise<Imported> {
  const dokploy = await FakeDokploy.start()
  try {
    dokploy.addKey('key')
    const { fields } = dokploy.addService('compose', 'tollgate', '', { appName: APP })
    const base64 = importTextOf(await blueprintOf(way))
    const answer = await fetch(`${dokploy.url}/api/compose.import`, {
      method: 'POST',
      headers: { 'x-api-key': 'key' },
      body: JSON.stringify({ composeId: 'tollgate', base64 }),
    })
    assert.equal(answer.status, 200)
    const { composeFile: compose, env, domains, mounts } = fields
    return { compose, env, domains, mounts } as unknown as Imported
  } finally {
    await dokploy.stop()
  }
}

/** Resolves with what `look` finds, which may take as long as a container that is started again and again. */
export async function until<T>(
  look: () => Promise<T | undefined | false>,
  what: () => string,
): Promise<T> {
  const untilMs = performance.now() + PATIENCE_MS
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (performance.now() > untilMs) assert.fail(`never saw ${what()}`)
    await pause(250)
  }
}

/** The Environment with one line changed. */
export function withVariable(env: string, name: string, value: string): string {
  const others = env.split('\n').filter((line) => !line.startsWith(`${name}=`))
  return [...others, `${name}=${value}`].join('\n')
}

/** Runs the block of step 6, from an agent's address to the server's. `ca.pem` is in the engine's folder. */
export async function sendAsThePageSays(
  { engine }: Server,
  page: string,
  token: string,
  port = 4318,
): Promise<Ended> {
  const block = /^DOMAIN=otlp\.example\.com TOKEN=…\n(curl .*?)^```/ms.exec(page)?.[1]
  assert.ok(block !== undefined)
  assert.ok(block.includes('https://$DOMAIN:4318/'))
  const options = `--interface ${AGENT} --cacert ca.pem --resolve "$DOMAIN:${port}:${SERVER}"`
  const script = `curl() { command curl ${options} "$@"; }\n${block.replace(':4318', `:${port}`)}`
  const [program, args] = engine.inside('bash', '-euc', script)
  const env = { ...process.env, DOMAIN, TOKEN: token }
  return await runToEnd(program, args, { env, cwd: engine.folder })
}

/** From where a holder's token was used last, as the gateway saw it. */
export async function lastAddress(server: Server, holder: string): Promise<string | undefined> {
  const answer = await fetch(`http://${await server.inside('tollgate', 9464)}/tokens`)
  const { tokens } = (await answer.json()) as {
    tokens: { holder: string; lastUse: { address: string } | null }[]
  }
  return tokens.find((token) => token.holder === holder)?.lastUse?.address
}

/** Ports of the host that lead to containers, as `4317 0.0.0.0`. */
export async function publishedPorts({ engine }: Server): Promise<string[]> {
  const running = (await engine.docker(['ps', '--quiet'])).trim().split('\n')
  const format =
    '{{range $port, $at := .HostConfig.PortBindings}}{{range $at}}{{.HostPort}} {{.HostIp}};{{end}}{{end}}'
  const bindings = await engine.docker(['inspect', '--format', format, ...running])
  return bindings.split(/[;\n]/).filter(Boolean).sort()
}

/** Writes what Dokploy has for Traefik, and a certificate as one that was uploaded. */
export async function writeTraefik(
  base: string,
  certificate: { readonly cert: string; readonly key: string },
): Promise<void> {
  const dynamic = join(base, 'traefik/dynamic')
  await writeFile(join(dynamic, 'chain.crt'), certificate.cert)
  await writeFile(join(dynamic, 'privkey.key'), certificate.key, { mode: 0o600 })
  const at = '/etc/dokploy/traefik/dynamic'
  const files = [{ certFile: `${at}/chain.crt`, keyFile: `${at}/privkey.key` }]
  await writeFile(
    join(dynamic, 'certificate.yml'),
    JSON.stringify({ tls: { certificates: files } }),
  )
  await writeFile(
    join(base, 'traefik/traefik.yml'),
    JSON.stringify({
      global: { checkNewVersion: false, sendAnonymousUsage: false },
      log: { level: 'INFO' },
      entryPoints: {
        web: { address: ':80' },
        websecure: { address: ':443', http: { tls: { certResolver: 'letsencrypt' } } },
      },
      providers: {
        docker: { exposedByDefault: false, watch: true, network: 'dokploy-network' },
        file: { directory: at, watch: true },
      },
      certificatesResolvers: {
        // Nobody answers there: traefik-certificate.test.ts has it order one.
        letsencrypt: {
          acme: {
            email: 'ops@example.test',
            storage: '/tmp/acme.json',
            caServer: 'https://127.0.0.1:1/',
            httpChallenge: { entryPoint: 'web' },
          },
        },
      },
    }),
  )
}
