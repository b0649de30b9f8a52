/**
 * Session tickets over a restart: the parent gives each gateway the same key, so that clients which all
 * come back at once resume their sessions; until the key is replaced, or the certificate.
 */
import assert from 'node:assert/strict'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { issueCa } from '../../src/tls/issue.ts'
import { isReusedByOpenssl, SESSION_VERSIONS, shakeHands } from '../support/sessions.ts'
import { type Gateway, spawnGateway } from '../support/spawn-gateway.ts'
import { hasTools } from '../support/tools.ts'

async function start(t: TestContext, env: Readonly<Record<string, string>> = {}, asks = false) {
  const gateway = await spawnGateway({
    // Nobody sends.
    collector: { grpc: '127.0.0.1:1' },
    env: { TOLLGATE_PARENT: 'on', ...env },
    asksCertificate: asks,
  })
  t.after(() => gateway[Symbol.asyncDispose]())
  return gateway
}

/** The process of the gateway that was started last; `gateway.pid` is its parent's. */
function currentOf(gateway: Gateway): number {
  return Number(gateway.log().findLast(({ event }) => event === 'start')?.pid)
}

for (const version of SESSION_VERSIONS) {
  test(`${version}: a session from before a restart or a crash goes on after it`, async (t) => {
    if (!hasTools(t, 'openssl')) return
    const gateway = await start(t)
    const ticket = join(gateway.folder, 'session.pem')
    const first = await shakeHands(gateway, version)
    assert.equal(first.isReused, false)
    assert.equal(await isReusedByOpenssl(gateway, version, '-sess_out', ticket), false)
    process.kill(gateway.pid, 'SIGUSR2')
    await gateway.logged('listening', 2)
    assert.equal((await shakeHands(gateway, version, first.given)).isReused, true)
    assert.equal(await isReusedByOpenssl(gateway, version, '-sess_in', ticket), true)
    process.kill(currentOf(gateway), 'SIGKILL')
    await gateway.logged('listening', 3)
    assert.equal((await shakeHands(gateway, version, first.given)).isReused, true)
    assert.equal(await isReusedByOpenssl(gateway, version, '-sess_in', ticket), true)
  })

  test(`${version}: a session does not go on under another certificate, with a restart or without`, async (t) => {
    const gateway = await start(t)
    const first = await shakeHands(gateway, version)
    await gateway.renewCertificate()
    await gateway.logged('certificate_loaded', 2)
    const second = await shakeHands(gateway, version, first.given)
    assert.equal(second.isReused, false)
    assert.equal((await shakeHands(gateway, version, second.given)).isReused, true)
    process.kill(gateway.pid, 'SIGUSR2')
    await gateway.logged('listening', 2)
    assert.equal((await shakeHands(gateway, version, first.given)).isReused, false)
    assert.equal((await shakeHands(gateway, version, second.given)).isReused, true)
  })

  test(`${version}: a client whose CA is gone after the restart is not let in by its session`, async (t) => {
    const gateway = await start(t, {}, true)
    const own = {
      cert: readFileSync(gateway.clientCertificate, 'utf8'),
      key: readFileSync(gateway.clientKey, 'utf8'),
    }
    const server = join(gateway.folder, 'server-ca.pem')
    copyFileSync(gateway.certificate, server)
    const { given } = await shakeHands(gateway, version, undefined, own)
    process.kill(gateway.pid, 'SIGUSR2')
    await gateway.logged('listening', 2)
    const before = await shakeHands(gateway, version, given, own)
    assert.deepEqual([before.isReused, before.isAnswered], [true, true])
    writeFileSync(gateway.certificate, (await issueCa('Another CA', Date.now())).cert)
    process.kill(gateway.pid, 'SIGUSR2')
    await gateway.logged('listening', 3)
    const place = { http: gateway.http, certificate: server }
    const after = await shakeHands(place, version, given, own)
    assert.notEqual(after.isReused, true)
    assert.equal(after.isAnswered, false)
  })

  test(`${version}: without a parent a session ends with its gateway`, async (t) => {
    const gateway = await start(t, { TOLLGATE_PARENT: 'off' })
    const { given } = await shakeHands(gateway, version)
    assert.equal((await shakeHands(gateway, version, given)).isReused, true)
    await gateway.stop()
    await gateway.start()
    assert.equal((await shakeHands(gateway, version, given)).isReused, false)
  })
}
