import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, type TestContext, test } from 'node:test'
import { connect, createServer } from 'node:tls'
import { FileWatch } from '../../../src/secrets/file-watch.ts'
import {
  type DevelopmentCertificate,
  ensureDevelopmentCertificate,
} from '../../../src/tls/development.ts'
import {
  DevelopmentRenewal,
  type DevelopmentRenewalOptions,
} from '../../../src/tls/development-renewal.ts'
import { ServerCertificate } from '../../../src/tls/server-certificate.ts'

const DAY_MS = 86_400_000
const NOW_MS = Date.now()
const root = mkdtempSync(join(tmpdir(), 'tollgate-renewal-'))
after(() => rmSync(root, { recursive: true }))

const serialIn = (path: string) => new X509Certificate(readFileSync(path)).serialNumber

/** A state directory with a certificate, and what looks after it by a clock that the test sets. */
async function looked(t: TestContext, options: Partial<DevelopmentRenewalOptions> = {}) {
  const stateDir = mkdtempSync(join(root, 'state-'))
  const made = await ensureDevelopmentCertificate({ stateDir, wallMs: NOW_MS, hostName: 'vps-1' })
  const clock = { wallMs: NOW_MS }
  const renewed: DevelopmentCertificate[] = []
  const troubles: string[] = []
  const renewal = new DevelopmentRenewal({
    stateDir,
    hostName: 'vps-1',
    wallMs: () => clock.wallMs,
    onRenewed: (each) => renewed.push(each),
    onTrouble: ({ message }) => troubles.push(message),
    ...options,
  })
  t.after(() => renewal.close())
  return { stateDir, made, clock, renewal, renewed, troubles }
}

suite('the renewal of the development certificate', () => {
  test('leaves it alone until a third of its life is left', async (t) => {
    const { made, clock, renewal, renewed } = await looked(t)
    const before = serialIn(made.certPath)
    clock.wallMs = made.dueMs - 1
    await renewal.look()
    assert.deepEqual([renewed.length, serialIn(made.certPath)], [0, before])
    clock.wallMs = made.dueMs
    await renewal.look()
    assert.deepEqual([renewed.length, renewed[0]?.made], [1, 'server'])
    assert.notEqual(serialIn(made.certPath), before)
    const leftDays = (made.dueMs - NOW_MS) / DAY_MS
    assert.ok(leftDays > 263 && leftDays < 265, `${leftDays}`)
  })

  test('goes on for years under the same CA', async (t) => {
    const { made, clock, renewal, renewed, troubles } = await looked(t)
    const ca = readFileSync(made.caPath, 'utf8')
    while (clock.wallMs < NOW_MS + 8 * 365 * DAY_MS) {
      clock.wallMs += 7 * DAY_MS
      await renewal.look()
      const { validFrom, validTo } = new X509Certificate(readFileSync(made.certPath))
      assert.ok(Date.parse(validFrom) <= clock.wallMs && clock.wallMs < Date.parse(validTo))
    }
    assert.deepEqual(troubles, [])
    // Due after 264 days, which a look every 7 days sees on day 266.
    assert.equal(renewed.length, 11)
    assert.equal(readFileSync(made.caPath, 'utf8'), ca)
  })

  test('never makes a new CA, and says once why it cannot renew', async (t) => {
    const { stateDir, made, clock, renewal, renewed, troubles } = await looked(t)
    const before = serialIn(made.certPath)
    const key = join(stateDir, 'ca.key')
    renameSync(key, `${key}.away`)
    clock.wallMs = made.dueMs
    for (const _ of [1, 2, 3]) await renewal.look()
    assert.equal(troubles.length, 1)
    assert.match(
      troubles[0] ?? '',
      /ca\.pem with its ca\.key is not here any more; put the files back/,
    )
    assert.deepEqual([renewed.length, serialIn(made.certPath)], [0, before])
    renameSync(`${key}.away`, key)
    await renewal.look()
    assert.equal(renewed.length, 1)
  })

  test('says that the CA comes to its end', async (t) => {
    const { made, clock, renewal, troubles } = await looked(t)
    clock.wallMs = Date.parse(new X509Certificate(readFileSync(made.caPath)).validTo) - DAY_MS
    await renewal.look()
    assert.match(troubles[0] ?? '', /the CA in ca\.pem ends on /)
  })

  test('certificates of seconds are renewed by the timer, and a TLS server follows', async (t) => {
    const lifeMs = 6000
    const stateDir = mkdtempSync(join(root, 'state-'))
    const options = { stateDir, hostName: 'vps-1', lifeMs }
    const { caPath, certPath, keyPath } = await ensureDevelopmentCertificate({
      ...options,
      wallMs: Date.now(),
    })
    const ca = readFileSync(caPath)
    const troubles: Error[] = []
    const renewal = new DevelopmentRenewal({
      ...options,
      onRenewed: () => {},
      onTrouble: (error) => troubles.push(error),
    })
    const swaps = Promise.withResolvers<void>()
    let swapCount = 0
    const certificate = await ServerCertificate.open({
      place: { kind: 'pem', certPath, keyPath },
      clientAuth: 'off',
      watch: (path, onChange) => new FileWatch({ path, debounceMs: 20, pollMs: 1000, onChange }),
      onEvent: (event) => {
        if (event.kind === 'kept') swaps.reject(event.error)
        if (event.kind !== 'swapped') return
        server.setSecureContext(certificate.tlsOptions)
        swapCount += 1
        if (swapCount === 2) swaps.resolve()
      },
    })
    const server = createServer(certificate.tlsOptions, (socket) => {
      socket.on('error', () => {})
      socket.end()
    })
    const awake = setInterval(() => {}, 1000)
    t.after(async () => {
      clearInterval(awake)
      server.close()
      certificate.close()
      await renewal.close()
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const serial = async () => {
      const socket = connect({ port, host: '127.0.0.1', ca, rejectUnauthorized: false })
      await once(socket, 'secureConnect')
      const { serialNumber } = socket.getPeerCertificate()
      socket.destroy()
      return serialNumber
    }
    const first = await serial()
    await renewal.look()
    await swaps.promise
    assert.notEqual(await serial(), first)
    assert.deepEqual(troubles, [])
  })
})
