/**
 * The stack with compose.acme.yml: the gateway's container orders its certificate of a real ACME server
 * on the other side of the network interface, which finds it by port 80 of the server.
 */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { issueServer } from '../../src/tls/issue.ts'
import { testCa } from '../support/certs.ts'
import { Child } from '../support/child.ts'
import { eventually } from '../support/eventually.ts'
import { addOutsider, type Outsider, openPorts, SERVER } from '../support/outsider.ts'
import { hasStack, startStack } from '../support/stack.ts'
import { tool } from '../support/tools.ts'

const NAME = 'otlp.example.test'
const ORDER_MS = 60_000
const PORTS = { acme: 14000, management: 15000, dns: 8053, names: 8055 } as const
/** How the CA of a directory of one's own gets into the container. */
const CA_FILE = `services:
  tollgate:
    environment: { TOLLGATE_ACME_CA: /etc/tollgate/acme-ca.pem }
    volumes: ["./acme-ca.pem:/etc/tollgate/acme-ca.pem:ro"]
`

test('with compose.acme.yml the container gets its certificate by port 80', async (t) => {
  if (!hasStack(t, 'pebble', 'pebble-challtestsrv', 'nmap', 'curl')) return
  // The addresses of outsiders are known before there is one.
  const acme = '203.0.113.9'
  const arrived = Promise.withResolvers<Outsider>()
  const stack = await startStack(t, {
    files: ['compose.acme.yml', 'acme-ca.yml'],
    settings: {
      TOLLGATE_DOMAIN: NAME,
      TOLLGATE_ACME: `https://${acme}:${PORTS.acme}/dir`,
      TOLLGATE_ACME_TERMS: 'agreed',
    },
    async prepare(engine, folder) {
      await writeFile(join(folder, 'acme-ca.yml'), CA_FILE)
      await writeFile(join(folder, 'acme-ca.pem'), (await testCa()).cert)
      const outsider = await addOutsider(t, engine)
      assert.equal(outsider.ipv4, acme)
      await startAcme(t, outsider)
      arrived.resolve(outsider)
    },
  })
  const outsider = await arrived.promise
  const address = `${SERVER.ipv4}:4318`
  const openssl = ['s_client', '-connect', address, '-servername', NAME]
  await eventually(
    async () => {
      const { stdout } = await outsider.run('openssl', ...openssl)
      return /issuer=.*Pebble Intermediate/.test(stdout)
    },
    'a certificate of the directory',
    ORDER_MS,
  )

  const roots = join(outsider.folder, 'roots.pem')
  const fetched = await outsider.run(
    ...['curl', '-sk', '-o', roots, `https://127.0.0.1:${PORTS.management}/roots/0`],
  )
  assert.equal(fetched.code, 0, fetched.stderr)
  const sent = await outsider.run(
    ...['curl', '-sS', '--cacert', roots, '--resolve', `${NAME}:4318:${SERVER.ipv4}`],
    ...['-H', `authorization: Bearer ${stack.token}`, '-H', 'content-type: application/json'],
    ...['-d', '{}', `https://${NAME}:4318/v1/traces`],
  )
  assert.equal(sent.stdout, '{"partialSuccess":{}}', sent.stderr)
  const open = await openPorts(outsider, SERVER.ipv4, ['-p1-10000'])
  t.diagnostic(`open besides 4317 and 4318: ${open.filter((port) => port === 80)}`)
  assert.deepEqual(
    open.filter((port) => port !== 80),
    [4317, 4318],
  )
})

/** An ACME server there, for which every name is the server. */
async function startAcme(t: TestContext, { inside, folder, ipv4 }: Outsider): Promise<void> {
  const { cert, key } = await issueServer(await testCa(), [ipv4], Date.now())
  const file = async (name: string, text: string) => {
    await writeFile(join(folder, name), text)
    return join(folder, name)
  }
  const config = await file(
    'pebble.json',
    JSON.stringify({
      pebble: {
        listenAddress: `0.0.0.0:${PORTS.acme}`,
        managementListenAddress: `127.0.0.1:${PORTS.management}`,
        certificate: await file('pebble.pem', cert),
        privateKey: await file('pebble.key', key),
        httpPort: 80,
        tlsPort: 443,
        ocspResponderURL: '',
        externalAccountBindingRequired: false,
        retryAfter: { authz: 1, order: 1 },
      },
    }),
  )
  const names = inside(
    ...[tool('pebble-challtestsrv'), '-dnsserver', `127.0.0.1:${PORTS.dns}`],
    ...['-management', `127.0.0.1:${PORTS.names}`, '-defaultIPv4', SERVER.ipv4],
    ...['-defaultIPv6', '', '-http01', '', '-https01', '', '-tlsalpn01', '', '-doh', ''],
  )
  const pebble = inside(tool('pebble'), '-config', config, '-dnsserver', `127.0.0.1:${PORTS.dns}`)
  for (const [program, args] of [names, pebble]) {
    const child = new Child(program, args, { env: { ...process.env, PEBBLE_VA_NOSLEEP: '1' } })
    t.after(async () => {
      child.kill('SIGKILL')
      await child.exit
    })
  }
}
