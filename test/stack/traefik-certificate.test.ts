/**
 * The certificate of the template for Dokploy, with nothing to set but a name: the labels of the
 * compose file have a real Traefik order it from an ACME directory (Pebble), `tollgate cert extract`
 * with the compose file's own arguments takes it out, and the gateway serves it.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect } from 'node:tls'
import { parse } from 'yaml'
import { blueprintOf, type Way } from '../../docker/dokploy/import.ts'
import { shakeHands, startAcmeGateway } from '../support/acme-gateway.ts'
import { Child } from '../support/child.ts'
import { interpolate } from '../support/dokploy-template.ts'
import { eventually } from '../support/eventually.ts'
import { startGateway } from '../support/gateway.ts'
import { freePorts } from '../support/otelcol.ts'
import { NAME, startPebble } from '../support/pebble.ts'
import { hasTools, ROOT } from '../support/tools.ts'
import { startTraefik } from '../support/traefik.ts'

interface Services {
  readonly services: {
    readonly tollgate: { readonly labels: readonly string[] }
    readonly 'cert-extract': { readonly command: readonly string[] }
  }
}

for (const way of ['ports', 'passthrough'] satisfies Way[]) {
  test(`Traefik orders the certificate, and the gateway serves it: ${way}`, async (t) => {
    if (!hasTools(t, 'traefik', 'pebble', 'pebble-challtestsrv')) return
    const pebble = await startPebble(t, { nonceReject: 0 })
    const { compose } = await blueprintOf(way)
    const env = `TOLLGATE_TLS_DOMAIN=${NAME}\nGRAFANA_ADMIN_PASSWORD=unused`
    const { services } = parse(interpolate(compose, env)) as Services
    const containers = [
      { name: 'tollgate', labels: services.tollgate.labels, address: '127.0.0.1', ports: [4318] },
    ]
    const traefik = await startTraefik(t, { acme: pebble, containers })
    const gateway = await startGateway(t)

    const to = join(gateway.folder, 'certificates')
    const mounts: Readonly<Record<string, string>> = {
      '--from=/traefik/acme.json': `--from=${join(traefik.dynamic, 'acme.json')}`,
      '--to=/certificates': `--to=${to}`,
      '--owner=65532:65532': `--owner=${process.getuid?.()}:${process.getgid?.()}`,
    }
    const args = services['cert-extract'].command.map((argument) => mounts[argument] ?? argument)
    const extract = new Child(process.execPath, [
      '--disable-warning=ExperimentalWarning',
      join(ROOT, 'src/main.ts'),
      ...args,
    ])
    t.after(async () => {
      extract.kill('SIGTERM')
      await extract.exit
    })
    await extract.line(
      'stdout',
      (line) => line.includes(`certificate for DNS:${NAME}`) || undefined,
    )
    assert.ok(existsSync(join(to, 'tls.key')))

    const other = await startGateway(t, {
      env: { TLS_CERT: join(to, 'tls.crt'), TLS_KEY: join(to, 'tls.key'), TLS_DOMAIN: NAME },
    })
    const { hostname, port } = new URL(`http://${other.addresses.http}`)
    const socket = connect({
      host: hostname,
      port: Number(port),
      servername: NAME,
      ca: await pebble.root(),
    })
    await once(socket, 'secureConnect')
    assert.ok(socket.authorized)
    socket.destroy()

    if (way === 'passthrough') return
    // The name leads nowhere on 443: a token sent there does not travel on.
    const status = await eventually(async () => {
      const asking = connect({
        host: '127.0.0.1',
        port: traefik.websecure,
        servername: NAME,
        ca: await pebble.root(),
        ALPNProtocols: ['http/1.1'],
      })
      const [first] = await Promise.race([
        once(asking, 'secureConnect').then(() => {
          asking.write(`POST /v1/traces HTTP/1.1\r\nhost: ${NAME}\r\ncontent-length: 0\r\n\r\n`)
          return once(asking, 'data')
        }),
        once(asking, 'error').then(() => [undefined]),
      ])
      asking.destroy()
      return first === undefined ? undefined : String(first).split('\r\n', 1)[0]
    }, 'an answer under the ordered certificate')
    assert.match(status, /418/)
  })
}

test("the gateway's own ACME gets through Traefik by TLS-ALPN-01, TLS passed through", async (t) => {
  if (!hasTools(t, 'traefik', 'pebble', 'pebble-challtestsrv')) return
  const [port = 0, websecure = 0] = await freePorts(2)
  const pebble = await startPebble(t, { nonceReject: 0, tlsPort: websecure })
  const { compose } = await blueprintOf('passthrough')
  const env = `TOLLGATE_TLS_DOMAIN=${NAME}\nGRAFANA_ADMIN_PASSWORD=unused`
  const { services } = parse(interpolate(compose, env)) as Services
  const labels = services.tollgate.labels.map((label) =>
    label.replace(/port=4318$/, `port=${port}`),
  )
  const containers = [{ name: 'tollgate', labels, address: '127.0.0.1', ports: [port] }]
  const traefik = await startTraefik(t, { containers, websecure })
  await eventually(
    async () => (await traefik.rawData()).tcpRouters?.['tollgate@docker'],
    'a router',
  )
  await using gateway = await startAcmeGateway(pebble, 'tls-alpn-01', {
    TOLLGATE_HTTP_LISTEN: `127.0.0.1:${port}`,
    TOLLGATE_CLIENT_ADDRESS: 'proxy-protocol',
    TOLLGATE_TRUSTED_PROXIES: '127.0.0.1',
  })
  await gateway.logged('certificate_issued', 1)
  const socket = await shakeHands(`127.0.0.1:${websecure}`, { ca: await pebble.root() })
  assert.ok(socket.authorized)
  socket.destroy()
})
