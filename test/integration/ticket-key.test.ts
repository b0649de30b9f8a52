/** The parent's end: a key that it replaces, and that nobody else gets to see. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { startGatewayProcess } from '../../src/parent/gateway-process.ts'
import { holdSockets } from '../../src/parent/held-sockets.ts'
import type { Order } from '../../src/parent/messages.ts'
import { TicketKeys } from '../../src/parent/ticket-keys.ts'
import { writeCertificate } from '../support/certs.ts'
import { eventually } from '../support/eventually.ts'
import { SESSION_VERSIONS, shakeHands } from '../support/sessions.ts'
import { TOKEN } from '../support/spawn-gateway.ts'
import { ROOT } from '../support/tools.ts'

/** Gateways as the parent starts them, one after the other, with keys that the test replaces. */
async function startGateways(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-tickets-'))
  const { certPath, keyPath, caPem } = await writeCertificate(folder)
  const certificate = join(folder, 'ca.pem')
  writeFileSync(certificate, caPem)
  const log = join(folder, 'log')
  const nowhere = { host: '127.0.0.1', port: 0 }
  const held = await holdSockets({ grpc: undefined, http: nowhere, admin: undefined }, {})
  const program = {
    node: '/bin/sh',
    args: [
      ...['-c', `exec "$0" "$@" 2>>${log}`, process.execPath],
      ...['--disable-warning=ExperimentalWarning', join(ROOT, 'src/main.ts'), 'serve-child'],
    ],
    env: {
      PATH: process.env.PATH,
      TOLLGATE_GRPC_LISTEN: 'off',
      TOLLGATE_ADMIN_LISTEN: 'off',
      TOLLGATE_STATE_DIR: folder,
      TOLLGATE_TLS_CERT: certPath,
      TOLLGATE_TLS_KEY: keyPath,
      TOLLGATE_TOKENS: `tests=${TOKEN}`,
      TOLLGATE_COLLECTOR_GRPC: 'http://127.0.0.1:1',
      TOLLGATE_LOG_LEVEL: 'debug',
    },
  }
  const keys = new TicketKeys()
  const seen = new Set<string>()
  const stops: (() => Promise<void>)[] = []
  t.after(async () => {
    for (const stop of stops) await stop()
    rmSync(folder, { recursive: true })
  })
  const start = async () => {
    const serving = Promise.withResolvers<void>()
    const ended = Promise.withResolvers<void>()
    const gateway = startGatewayProcess(program, held, {
      onReport({ kind }) {
        if (kind === 'prepared') gateway.order({ kind: 'open', isFirst: true })
        if (kind === 'serving') serving.resolve()
      },
      onEnd() {
        ended.resolve()
        serving.reject(new Error(readFileSync(log, 'utf8')))
      },
    })
    serving.promise.catch(() => {})
    keys.join({
      order(order: Order) {
        if (order.kind === 'ticket-key') seen.add(order.key)
        gateway.order(order)
      },
    })
    const stop = async () => {
      gateway.kill()
      await ended.promise
    }
    stops.push(stop)
    await serving.promise
    return { pid: gateway.pid, stop }
  }
  const place = { http: held[0]?.address ?? '', certificate }
  return { folder, log, place, keys, seen, start }
}

for (const version of SESSION_VERSIONS) {
  test(`${version}: once the key is replaced, sessions from before do not go on`, async (t) => {
    const { place, keys, start } = await startGateways(t)
    const first = await start()
    const { given: old } = await shakeHands(place, version)
    assert.equal((await shakeHands(place, version, old)).isReused, true)
    keys.rotate()
    const fresh = await eventually(async () => {
      const { isReused, given } = await shakeHands(place, version, old)
      return isReused === false ? given : undefined
    }, 'the key to be replaced')
    assert.equal((await shakeHands(place, version, fresh)).isReused, true)
    await first.stop()
    await start()
    assert.equal((await shakeHands(place, version, old)).isReused, false)
    assert.equal((await shakeHands(place, version, fresh)).isReused, true)
  })
}

test('the key is in no variable, argument, file or line of the log', async (t) => {
  const { folder, log, place, keys, seen, start } = await startGateways(t)
  const { pid } = await start()
  keys.rotate()
  await shakeHands(place, 'TLSv1.3')
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
  assert.ok(files.includes(log))
  const places = [`/proc/${pid}/environ`, `/proc/${pid}/cmdline`, ...files].map((path) => ({
    path,
    text: readFileSync(path, 'latin1'),
  }))
  assert.equal(seen.size, 2)
  for (const key of seen) {
    const bytes = Buffer.from(key, 'base64')
    for (const form of [key, bytes.toString('hex'), bytes.toString('latin1')]) {
      for (const { path, text } of places) assert.ok(!text.includes(form), path)
    }
  }
})
