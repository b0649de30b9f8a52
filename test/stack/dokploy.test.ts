/**
 * docs/dokploy.md, step by step, as far as it goes without Dokploy and Grafana, of which neither can
 * run here: what Dokploy does with a template is done by a stand-in (test/support/dokploy.ts,
 * test/support/dokploy-template.ts), and what the dashboard asks is asked of Prometheus. Image,
 * containers, networks, ports and Traefik are real; the rest of Traefik's part is in traefik-*.test.ts.
 */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseEnv } from 'node:util'
import { issueServer } from '../../src/tls/issue.ts'
import { startSender } from '../real/senders/run.ts'
import { acmeJson } from '../support/acme-json.ts'
import { testCa } from '../support/certs.ts'
import { hasDocker } from '../support/docker-engine.ts'
import { buildImage, GATEWAY_IMAGE, importImage } from '../support/docker-images.ts'
import type { Imported } from '../support/dokploy-template.ts'
import { importStack, STACK_TOOLS } from '../support/stack-images.ts'
import { ROOT, tool } from '../support/tools.ts'
import {
  AGENT,
  APP,
  DOMAIN,
  lastAddress,
  publishedPorts,
  type Server,
  sendAsThePageSays,
  startServer,
  until,
  withVariable,
  writeTraefik,
} from './dokploy-scene.ts'
import { portOf } from './front-scene.ts'

const PRINTED = '{"partialSuccess":{}}'
const AGENT_ITEMS = 20
const TRAEFIK = 'traefik:v3.7.15'

test('docs/dokploy.md: from the template to the first span', { timeout: 900_000 }, async (t) => {
  if (!hasDocker(t, ...STACK_TOOLS, 'curl', 'python-sender', 'traefik')) return
  const page = await readFile(join(ROOT, 'docs/dokploy.md'), 'utf8')
  const server = await startServer(t)
  const { engine, base, compose } = server
  await importStack(engine)
  const ca = await testCa()
  await writeFile(join(engine.folder, 'ca.pem'), ca.cert)
  // As `localhost` the agent of step 6 gets there.
  const names = [DOMAIN, 'localhost']
  const certificate = await issueServer(ca, names, Date.now())

  await t.test('step 1: the image', async () => {
    assert.match(page, /^docker build -f docker\/Dockerfile -t tollgate:0\.1\.0 \.$/m)
    // As that line builds it, with the tests' bases.
    await buildImage(engine, GATEWAY_IMAGE)
    await engine.docker(['tag', GATEWAY_IMAGE.tag, 'tollgate:0.1.0'])
  })

  const template = await server.import('ports')
  // Step 3.
  let env = withVariable(template.env, 'TOLLGATE_TLS_DOMAIN', DOMAIN)
  const token = parseEnv(env).TOLLGATE_TOKENS?.replace('first-agent=', '') ?? ''
  const send = (one = token, port?: number) => sendAsThePageSays(server, page, one, port)

  await t.test('steps 2 to 4: imported, named, deployed; the certificate comes later', async () => {
    // Traefik has made the file, and no certificate yet.
    const file = join(base, 'traefik/dynamic/acme.json')
    await writeFile(file, '', { mode: 0o600 })
    await server.deploy(template, env)
    await writeFile(file, acmeJson({ letsencrypt: [{ names, ...certificate }] }))
    await server.untilHealthy()
    const log = await compose('logs', '--no-log-prefix', 'tollgate', 'cert-extract')
    assert.match(log, /"event":"listening"/)
    assert.match(log, /Wrote the certificate for DNS:otlp\.example\.com/)
  })

  await t.test('step 5: 4317 and 4318 are published, and nothing else', async () => {
    assert.deepEqual(await publishedPorts(server), ['4317 0.0.0.0', '4318 0.0.0.0'])
  })

  await t.test('step 6: the first span, by the line of the page', async () => {
    const { stdout, stderr } = await send()
    assert.equal(stdout, PRINTED, stderr)
    assert.equal(await lastAddress(server, 'first-agent'), AGENT)
    assert.match(await compose('logs', '--no-log-prefix', 'collector'), /"spans": 1/)
    assert.match((await send('another-token-0123456789')).stdout, /"code":16/)
  })

  await t.test('step 6: an agent with the variables of the page', () =>
    sendFromAgent(server, page, token),
  )
  await t.test('step 7: every query of the dashboard has an answer', () => askAll(server, template))

  await t.test('tokens after the first: made in the container, without a deployment', async () => {
    const line = /^docker exec APP-tollgate-1 (tollgate token create .*)$/m.exec(page)?.[1] ?? ''
    const create = async () => {
      const printed = await engine.docker(['exec', `${APP}-tollgate-1`, ...line.split(' ')])
      return printed.trim()
    }
    const next = await create()
    assert.match(next, /^tg_/)
    env = withVariable(env, 'TOLLGATE_TOKENS_FILE', '/var/lib/tollgate/tokens.json')
    await server.deploy(template, env)
    for (const one of [next, token]) await untilSent(() => send(one))
    const another = await create()
    await untilSent(() => send(another))
  })

  await writeTraefik(base, certificate)
  await startTraefik(server)
  for (const way of ['passthrough', 'http-router'] as const)
    await t.test(`behind Traefik, by labels: ${way}`, async () => {
      await server.deploy(await server.import(way), env)
      await server.untilHealthy()
      assert.deepEqual(await publishedPorts(server), ['443 ', '80 '])
      await untilSent(() => send(token, 443))
      assert.equal(await lastAddress(server, 'first-agent'), AGENT)
    })
})

/** Sends until it is taken: a deployment closes the ports for a moment. */
async function untilSent(send: () => ReturnType<typeof sendAsThePageSays>): Promise<void> {
  let last = ''
  await until(
    async () => {
      const { stdout, stderr } = await send()
      last = `${stdout} ${stderr}`
      return stdout === PRINTED
    },
    () => `an answer of success: ${last}`,
  )
}

async function sendFromAgent(server: Server, page: string, token: string): Promise<void> {
  for (const name of ['ENDPOINT', 'PROTOCOL=http/protobuf', 'HEADERS=Authorization=Bearer%20'])
    assert.ok(page.includes(`export OTEL_EXPORTER_OTLP_${name}`), name)
  const agent = startSender(
    { language: 'python', protocol: 'http/protobuf' },
    {
      endpoint: `https://localhost:${portOf(await server.inside('tollgate', 4318))}`,
      token,
      certificate: join(server.engine.folder, 'ca.pem'),
    },
    { items: AGENT_ITEMS, seconds: 1 },
  )
  assert.deepEqual((await agent.done).logged, [])
}

async function askAll(server: Server, template: Imported): Promise<void> {
  const prometheus = `http://${await server.inside('prometheus', 9090)}`
  const ask = (query: string) => firstValue(prometheus, query)
  const queries = queriesOf(template)
  assert.ok(queries.length >= 8)
  for (const query of queries)
    await until(
      () => ask(query),
      () => query,
    )
  // The first panel: the span of the page, and the agent's.
  await until(
    async () => (await ask(queries[0] ?? '')) === String(1 + AGENT_ITEMS),
    () => `${1 + AGENT_ITEMS} spans`,
  )
  assert.equal(await ask('count(tollgate_token_last_used_timestamp_seconds)'), '1')
  assert.ok(Number(await ask('sum(tollgate_token_requests_total{holder="first-agent"})')) >= 4)
  assert.equal(await ask('min(up)'), '1')
}

function queriesOf({ mounts }: Imported): string[] {
  const file = mounts.find(({ filePath }) => filePath === 'grafana/dashboards/first-data.json')
  const { panels } = JSON.parse(file?.content ?? '') as {
    panels: { targets: { expr: string }[] }[]
  }
  return panels.flatMap(({ targets }) =>
    // What Grafana makes of it with scrapes every 15 s.
    targets.map(({ expr }) => expr.replaceAll('$__rate_interval', '60s')),
  )
}

/** The value of the first series; undefined where there is none. */
async function firstValue(prometheus: string, query: string): Promise<string | undefined> {
  const answer = await fetch(`${prometheus}/api/v1/query?query=${encodeURIComponent(query)}`)
  const body = (await answer.json()) as {
    readonly status: string
    readonly error?: string
    readonly data?: { readonly result: readonly { readonly value: readonly [number, string] }[] }
  }
  assert.equal(body.status, 'success', `${query}: ${body.error}`)
  return body.data?.result[0]?.value[1]
}

/** `dokploy-traefik`, in the network of the isolated deployment, as Dokploy puts it there. */
async function startTraefik({ engine, base }: Server): Promise<void> {
  await importImage(engine, {
    tag: TRAEFIK,
    programs: { '/traefik': tool('traefik') },
    changes: ['ENTRYPOINT ["/traefik"]'],
  })
  await engine.docker([
    ...['run', '--detach', '--name', 'dokploy-traefik', '--network', APP],
    ...['--publish', '80:80', '--publish', '443:443'],
    ...['--volume', `${join(engine.folder, 'docker.sock')}:/var/run/docker.sock`],
    ...['--volume', `${base}/traefik/traefik.yml:/etc/traefik/traefik.yml`],
    ...['--volume', `${base}/traefik/dynamic:/etc/dokploy/traefik/dynamic`],
    TRAEFIK,
  ])
}
