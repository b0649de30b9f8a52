/**
 * The certificate that a real Traefik got from an ACME directory (Pebble), used by the gateway out of
 * Traefik's own acme.json: at the start, when Traefik writes the file for another site, and renewed.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { connect } from 'node:tls'
import { Child } from '../support/child.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { freePorts } from '../support/otelcol.ts'
import { NAME, type Pebble, startPebble } from '../support/pebble.ts'
import { runTollgate } from '../support/run-command.ts'
import { hasTools, tool } from '../support/tools.ts'

const SHOP = 'shop.example.test'
/** With so little left Traefik renews at its next start. */
const LIFE_SECONDS = 900

interface Traefik {
  readonly acmeJson: string
  /** `host:port` where it serves what it got. */
  readonly address: string
  /** Has it get certificates for these hosts. */
  setHosts(...hosts: string[]): void
  start(): Promise<void>
  stop(): Promise<void>
}

async function startTraefik(t: TestContext, pebble: Pebble): Promise<Traefik> {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-traefik-'))
  const [tlsPort = 0] = await freePorts(1)
  const at = (name: string) => join(folder, name)
  // JSON is YAML.
  const writeYaml = (name: string, value: unknown) => writeFileSync(at(name), JSON.stringify(value))
  const acmeJson = at('acme.json')
  writeYaml('traefik.yml', {
    global: { checkNewVersion: false, sendAnonymousUsage: false },
    log: { level: 'INFO' },
    entryPoints: {
      web: { address: `127.0.0.1:${pebble.httpPort}` },
      websecure: { address: `127.0.0.1:${tlsPort}` },
    },
    providers: { file: { filename: at('dynamic.yml'), watch: true } },
    certificatesResolvers: {
      letsencrypt: {
        acme: {
          email: 'ops@example.test',
          storage: acmeJson,
          caServer: pebble.directory,
          certificatesDuration: 1,
          keyType: 'EC256',
          httpChallenge: { entryPoint: 'web' },
        },
      },
    },
  })
  const setHosts = (...hosts: string[]) =>
    writeYaml('dynamic.yml', {
      http: {
        routers: Object.fromEntries(
          hosts.map((host, at) => [
            `r${at}`,
            {
              rule: `Host(\`${host}\`)`,
              entryPoints: ['websecure'],
              service: 'nothing',
              tls: { certResolver: 'letsencrypt' },
            },
          ]),
        ),
        services: { nothing: { loadBalancer: { servers: [{ url: 'http://127.0.0.1:1' }] } } },
      },
    })
  let running: Child | undefined
  const stop = async () => {
    running?.kill('SIGTERM')
    await running?.exit
    running = undefined
  }
  t.after(async () => {
    await stop()
    rmSync(folder, { recursive: true, force: true })
  })
  return {
    acmeJson,
    address: `127.0.0.1:${tlsPort}`,
    setHosts,
    async start() {
      running = new Child(tool('traefik'), [`--configFile=${at('traefik.yml')}`], {
        cwd: folder,
        env: { ...process.env, LEGO_CA_CERTIFICATES: pebble.caPath },
      })
    },
    stop,
  }
}

/** The serial number of what is served for a name, to a client that trusts this CA. */
async function served(address: string, servername: string, ca: string): Promise<string> {
  const { hostname, port } = new URL(`http://${address}`)
  const socket = connect({ host: hostname, port: Number(port), servername, ca })
  await once(socket, 'secureConnect')
  const { serialNumber } = socket.getPeerCertificate()
  socket.destroy()
  return serialNumber
}

test("Traefik's certificate: taken, kept while others come, renewed, extracted", async (t) => {
  if (!hasTools(t, 'traefik', 'pebble', 'pebble-challtestsrv')) return
  const pebble = await startPebble(t, { lifeSeconds: LIFE_SECONDS, nonceReject: 0 })
  const traefik = await startTraefik(t, pebble)
  traefik.setHosts(NAME)
  await traefik.start()
  const hosts = () => hostsIn(traefik.acmeJson)
  await eventually(() => hosts().includes(NAME), 'a certificate in acme.json')
  assert.equal(statSync(traefik.acmeJson).mode & 0o777, 0o600)
  const root = await pebble.root()
  const gateway = await startGateway(t, {
    env: { TLS_CERT: '', TLS_KEY: '', TLS_ACME_JSON: traefik.acmeJson, TLS_DOMAIN: NAME },
  })
  const first = await served(gateway.addresses.grpc, NAME, root)
  assert.equal(await served(traefik.address, NAME, root), first)

  await t.test('another site comes', async () => {
    traefik.setHosts(NAME, SHOP)
    await eventually(() => hosts().includes(SHOP), 'a second certificate')
    await gateway.reload()
    assert.equal(await served(gateway.addresses.http, NAME, root), first)
    assert.equal(sumOf(await gateway.metrics(), 'tollgate_certificate_last_reload_success'), 1)
    // The other site's certificate is none of the gateway's.
    await assert.rejects(served(gateway.addresses.http, SHOP, root), /altnames/)
  })

  await t.test('renewed by Traefik, taken without a signal', { timeout: 240_000 }, async () => {
    const swaps = await swapsOf(gateway)
    await traefik.stop()
    await traefik.start()
    // Traefik tries at its start and then once a minute: the limit is that of the test.
    while ((await swapsOf(gateway)) === swaps) await pause(100)
    const renewed = await served(gateway.addresses.grpc, NAME, root)
    assert.notEqual(renewed, first)
    await eventually(
      async () => (await served(traefik.address, NAME, root).catch(() => '')) === renewed,
      'the same certificate from Traefik',
    )
  })

  await t.test('extracted', async () => {
    const to = join(gateway.folder, 'extracted')
    const args = ['--from', traefik.acmeJson, '--domain', NAME, '--to', to]
    const { code, stderr } = await runTollgate(['cert', 'extract', ...args])
    assert.equal(code, 0, stderr)
    const other = await startGateway(t, {
      env: { TLS_CERT: join(to, 'tls.crt'), TLS_KEY: join(to, 'tls.key'), TLS_DOMAIN: NAME },
    })
    const now = await served(gateway.addresses.grpc, NAME, root)
    assert.equal(await served(other.addresses.grpc, NAME, root), now)
  })
})

async function swapsOf(gateway: TestGateway): Promise<number> {
  const page = await gateway.metrics()
  return sumOf(page, 'tollgate_certificate_reloads_total', { outcome: 'swapped' })
}

/** Whom Traefik has certificates for; nobody while it writes. */
function hostsIn(path: string): readonly unknown[] {
  try {
    const { letsencrypt } = JSON.parse(readFileSync(path, 'utf8')) as {
      letsencrypt: { Certificates: { domain: { main: string } }[] | null }
    }
    return (letsencrypt.Certificates ?? []).map(({ domain }) => domain.main)
  } catch {
    return []
  }
}
