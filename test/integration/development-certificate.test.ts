/** A gateway that made its certificate by itself, and renews it while it runs. */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect } from 'node:tls'
import { issueServer } from '../../src/tls/issue.ts'
import { Child } from '../support/child.ts'
import { FREE_PORTS } from '../support/run-command.ts'
import { ROOT } from '../support/tools.ts'

const DAY_MS = 86_400_000

test('a certificate that is due is renewed at a SIGHUP, and connections that are open go on', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-development-'))
  const at = (file: string) => join(folder, file)
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith('TOLLGATE_'))
  const gateway = new Child(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', join(ROOT, 'src/main.ts'), 'serve'],
    {
      cwd: folder,
      env: {
        ...Object.fromEntries(others),
        ...FREE_PORTS,
        TOLLGATE_STATE_DIR: folder,
        TOLLGATE_LOG_FORMAT: 'json',
        TOLLGATE_PARENT: 'off',
      },
    },
  )
  t.after(async () => {
    gateway.kill('SIGTERM')
    await gateway.exit
    await rm(folder, { recursive: true })
  })
  const logged = (event: string, times: number) => {
    let count = 0
    return gateway.line('stderr', (line) => {
      const fields = line.startsWith('{') ? JSON.parse(line) : {}
      if (fields.event === event) count += 1
      return count === times ? fields : undefined
    })
  }
  const { http } = await logged('listening', 1)
  await gateway.line('stdout', (line) => (line.startsWith('Stop with') ? line : undefined))
  const port = Number(new URL(`https://${http}`).port)
  const ca = await readFile(at('ca.pem'), 'utf8')
  const open = async () => {
    const socket = connect({ port, host: '127.0.0.1', ca })
    await once(socket, 'secureConnect')
    return { socket, serial: socket.getPeerCertificate().serialNumber }
  }
  const old = await open()

  // Issued 300 days ago: less than a third of its life is left. The gateway takes it, as it is good.
  const key = await readFile(at('ca.key'), 'utf8')
  const names = [hostname().toLowerCase(), 'localhost', '127.0.0.1', '::1']
  const due = await issueServer({ cert: ca, key }, names, Date.now() - 300 * DAY_MS)
  await writeFile(at('server.key'), due.key)
  await writeFile(at('server.pem'), due.cert)
  await logged('certificate_loaded', 2)
  const second = await open()
  assert.equal(second.serial, new X509Certificate(due.cert).serialNumber)

  gateway.kill('SIGHUP')
  await logged('certificate_loaded', 3)
  const third = await open()
  assert.notEqual(third.serial, second.serial)
  const { validTo } = new X509Certificate(await readFile(at('server.pem')))
  assert.ok(Date.parse(validTo) > Date.now() + 395 * DAY_MS)
  assert.equal(await readFile(at('ca.pem'), 'utf8'), ca)

  for (const { socket } of [old, second, third]) {
    socket.write('GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n')
    const [answer] = await once(socket, 'data')
    assert.match(String(answer), /^HTTP\/1\.1 40/)
    socket.destroy()
  }
})
