/**
 * The parent: a gateway that is replaced, dies, or cannot start, while clients go on sending to ports
 * that never close.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { type IncomingMessage, request } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { assertAccepted } from '../support/answers.ts'
import { Client, WAYS } from '../support/client.ts'
import { type ScriptedCollector, startCollector } from '../support/collector.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { startLoad } from '../support/load.ts'
import { runTollgate } from '../support/run-command.ts'
import { type Gateway, spawnGateway, TOKEN } from '../support/spawn-gateway.ts'

/** A gateway with a parent; `pid` is the parent's. */
async function start(
  t: TestContext,
  env: Readonly<Record<string, string>> = {},
): Promise<{ gateway: Gateway; collector: ScriptedCollector }> {
  const collector = await startCollector()
  t.after(() => collector.die())
  const gateway = await spawnGateway({
    collector: { grpc: `127.0.0.1:${collector.grpcPort}` },
    env: { TOLLGATE_PARENT: 'on', TOLLGATE_RATE: 'off', ...env },
  })
  t.after(() => gateway[Symbol.asyncDispose]())
  return { gateway, collector }
}

/** The processes of the gateways that were started, in their order. */
function children(gateway: Gateway): number[] {
  return gateway
    .log()
    .filter(({ event }) => event === 'start')
    .map(({ pid }) => Number(pid))
}

function hasLogged(gateway: Gateway, event: string, words: RegExp): boolean {
  return gateway.log().some((line) => line.event === event && words.test(String(line.msg)))
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function clientOf(t: TestContext, gateway: Gateway, way: (typeof WAYS)[number] = 'gRPC') {
  const caPem = await readFile(gateway.certificate, 'utf8')
  const address = way === 'gRPC' ? gateway.grpc : gateway.http
  const client = new Client({ way, address, caPem, token: TOKEN })
  t.after(() => client.close())
  return client
}

test('the gateway is replaced under load three times, and no request is lost or refused', async (t) => {
  const { gateway } = await start(t)
  const load = await startLoad(gateway)
  for (const times of [1, 2, 3]) {
    const before = load.accepted
    await eventually(() => load.accepted > before + 20, 'requests under way')
    process.kill(gateway.pid, 'SIGUSR2')
    await gateway.logged('listening', times + 1)
    const after = load.accepted
    await eventually(() => load.accepted > after + 20, 'requests that the new one takes')
    await gateway.logged('stop', times)
  }
  assert.deepEqual(await load.stop(), [])
  assert.equal(new Set(children(gateway)).size, 4)
  for (const former of children(gateway).slice(0, -1)) assert.ok(!isAlive(former))
  await gateway.stop()
})

for (const way of WAYS) {
  test(`${way}: a call that is under way when the gateway is replaced ends well`, async (t) => {
    const { gateway, collector } = await start(t)
    collector.behave({ kind: 'slow' })
    const client = await clientOf(t, gateway, way)
    const answer = client.send({ message: Buffer.from('under way') })
    await collector.hasReached(1)
    process.kill(gateway.pid, 'SIGUSR2')
    await gateway.logged('listening', 2)
    collector.behave({ kind: 'ok' })
    assertAccepted(await (await clientOf(t, gateway, way)).send())
    collector.resumeReading()
    assertAccepted(await answer)
  })
}

for (const protocol of ['h2', 'http/1.1'] as const) {
  test(`${protocol}: who is in the middle of the handshake when the gateway is replaced is served`, async (t) => {
    const { gateway } = await start(t)
    const [host = '', port] = gateway.http.split(':')
    const raw = connect(Number(port), host)
    t.after(() => raw.destroy())
    await eventually(
      async () => sumOf(await gateway.metrics(), 'tollgate_connections') === 1,
      'the connection',
    )
    process.kill(gateway.pid, 'SIGUSR2')
    await gateway.logged('listening', 2)
    const ca = await readFile(gateway.certificate, 'utf8')
    const socket = connectTls({
      socket: raw,
      ca,
      servername: 'localhost',
      ALPNProtocols: [protocol],
    })
    const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/x-protobuf' }
    if (protocol === 'h2') {
      const session = connectHttp2('https://localhost', { createConnection: () => socket })
      const stream = session.request({ ':method': 'POST', ':path': '/v1/traces', ...headers })
      stream.end()
      const [answer] = (await once(stream, 'response')) as [Record<string, unknown>]
      assert.equal(answer[':status'], 200)
    } else {
      const options = {
        createConnection: () => socket,
        method: 'POST',
        path: '/v1/traces',
        headers,
      }
      const [answer] = (await once(request(options).end(), 'response')) as [IncomingMessage]
      assert.deepEqual([answer.statusCode, answer.headers.connection], [200, 'close'])
    }
  })
}

test('the gateway is killed: who connects meanwhile waits, and is served by the next', async (t) => {
  const { gateway } = await start(t)
  const [first = 0] = children(gateway)
  process.kill(first, 'SIGKILL')
  // Until the kernel has ended it, it may still take connections.
  await eventually(() => hasLogged(gateway, 'gateway_ended', /SIGKILL/), 'its end')
  const answers = WAYS.map(async (way) => (await clientOf(t, gateway, way)).send())
  for (const answer of await Promise.all(answers)) assertAccepted(answer)
  assert.equal(children(gateway).length, 2)
  const ended = gateway.log().find(({ event }) => event === 'gateway_ended')
  assert.equal(ended?.level, 'error')
  assert.deepEqual([ended?.child, ended?.signal], [first, 'SIGKILL'])
  await gateway.assertInvariant()
})

test('the gateway is killed under load: all that was sent later is taken', async (t) => {
  const { gateway } = await start(t)
  const load = await startLoad(gateway)
  await eventually(() => load.accepted > 20, 'requests under way')
  process.kill(children(gateway)[0] ?? 0, 'SIGKILL')
  await gateway.logged('listening', 2)
  const before = load.accepted
  await eventually(() => load.accepted > before + 20, 'requests that the next one takes')
  const failures = await load.stop()
  // One under way for each client at most, and none that met a closed port.
  assert.ok(failures.length <= 2 * WAYS.length, failures.join('\n'))
  assert.doesNotMatch(failures.join('\n'), /ECONNREFUSED/)
})

test('bans outlive a replacement', async (t) => {
  const { gateway } = await start(t)
  const bans = (...args: string[]) => runTollgate(['bans', ...args, '--state-dir', gateway.folder])
  assert.equal((await bans('add', '203.0.113.9')).code, 0)
  process.kill(gateway.pid, 'SIGUSR2')
  await gateway.logged('listening', 2)
  assert.match((await bans('list')).stdout, /203\.0\.113\.9/)
})

test('tollgate restart answers when the next gateway takes over', async (t) => {
  const { gateway } = await start(t)
  const { code, stdout, stderr } = await runTollgate(['restart', '--state-dir', gateway.folder])
  assert.equal(code, 0, stderr)
  await gateway.logged('listening', 2)
  assert.match(stdout, new RegExp(`pid ${children(gateway)[1]}\\b`))
  assertAccepted(await (await clientOf(t, gateway)).send())
})

test('tollgate restart without a parent, without a gateway, and mistyped', async (t) => {
  const { gateway } = await start(t, { TOLLGATE_PARENT: 'off' })
  const alone = await runTollgate(['restart', '--state-dir', gateway.folder])
  assert.equal(alone.code, 70)
  assert.match(alone.stderr, /runs without a parent .*TOLLGATE_PARENT=off/)
  process.kill(gateway.pid, 'SIGUSR2')
  await eventually(() => hasLogged(gateway, 'notice', /SIGUSR2: .* no parent/), 'words about it')
  await gateway.stop()
  const nobody = await runTollgate(['restart', '--state-dir', gateway.folder])
  assert.deepEqual([nobody.code, nobody.stdout], [69, ''])
  assert.match(nobody.stderr, /^tollgate restart: no gateway is running/)
  assert.equal((await runTollgate(['restart', '--now'])).code, 64)
})

test('a next gateway that cannot start changes nothing, and everybody is told', async (t) => {
  const { gateway } = await start(t)
  const [first] = children(gateway)
  await writeFile(join(gateway.folder, 'test.pem'), 'no certificate')
  const { code, stderr } = await runTollgate(['restart', '--state-dir', gateway.folder])
  assert.equal(code, 70)
  assert.match(stderr, /could not start: exit code 64; the log says why\. The one before goes on/)
  assert.ok(hasLogged(gateway, 'restart', /could not start: exit code 64/))
  assert.match(gateway.output(), /test\.pem/)
  assertAccepted(await (await clientOf(t, gateway)).send())
  assert.ok(isAlive(first ?? 0))
  assert.equal(gateway.log().filter(({ event }) => event === 'listening').length, 1)
})

test('a gateway that dies again and again is tried again, and its clients wait', async (t) => {
  const { gateway } = await start(t)
  const pem = join(gateway.folder, 'test.pem')
  const good = await readFile(pem)
  await writeFile(pem, 'no certificate')
  process.kill(children(gateway)[0] ?? 0, 'SIGKILL')
  await gateway.logged('gateway_ended', 3)
  const answer = (await clientOf(t, gateway)).send()
  await writeFile(pem, good)
  assertAccepted(await answer)
  const told = gateway.log().filter(({ event }) => event === 'gateway_ended')
  assert.match(String(told[0]?.msg), /killed by SIGKILL\. Starting it again now/)
  assert.match(String(told[1]?.msg), /exit code 64\. Starting it again in 0\.5 s/)
  assert.match(String(told[2]?.msg), /exit code 64\. Starting it again in 1 s/)
})

test('a first start that fails ends the parent with the same exit code', async (t) => {
  const { gateway } = await start(t)
  const { code, stderr } = await runTollgate(['serve'], {
    TOLLGATE_GRPC_LISTEN: '127.0.0.1:0',
    TOLLGATE_HTTP_LISTEN: 'off',
    TOLLGATE_ADMIN_LISTEN: 'off',
    TOLLGATE_STATE_DIR: gateway.folder,
  })
  assert.equal(code, 69)
  assert.match(stderr, /a gateway is already running with this state directory/)
})

test('the parent is killed: the gateway ends in order, and the port is free', async (t) => {
  const { gateway, collector } = await start(t)
  collector.behave({ kind: 'slow' })
  const answer = (await clientOf(t, gateway)).send({ message: Buffer.from('under way') })
  await collector.hasReached(1)
  process.kill(gateway.pid, 'SIGKILL')
  await eventually(() => hasLogged(gateway, 'draining', /The parent is gone/), 'the drain')
  collector.resumeReading()
  assertAccepted(await answer)
  // Resolves when nobody has its output open any more: when the child has ended too.
  assert.equal((await gateway.exit()).signal, 'SIGKILL')
  const [host = '', port] = gateway.grpc.split(':')
  const socket = connect(Number(port), host)
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNREFUSED')
})

test('the parent is killed while the next gateway gets ready: both end', async (t) => {
  const { gateway } = await start(t)
  process.kill(gateway.pid, 'SIGUSR2')
  await gateway.logged('restart', 1)
  process.kill(gateway.pid, 'SIGKILL')
  // Resolves when nobody has its output open any more.
  assert.equal((await gateway.exit()).signal, 'SIGKILL')
})

test('a gateway that was told to end by hand is started again', async (t) => {
  const { gateway } = await start(t)
  process.kill(children(gateway)[0] ?? 0, 'SIGTERM')
  await gateway.logged('listening', 2)
  assertAccepted(await (await clientOf(t, gateway)).send())
})

test('an idle HTTP/1.1 connection is not closed at once, but with its next answer', async (t) => {
  const { gateway } = await start(t)
  const client = await clientOf(t, gateway, 'HTTP/1.1')
  assertAccepted(await client.send())
  process.kill(gateway.pid, 'SIGUSR2')
  await gateway.logged('listening', 2)
  const answer = await client.send()
  assertAccepted(answer)
  assert.ok(answer.wasReused)
  assert.equal(answer.headers.connection, 'close')
  assert.equal((await client.send()).wasReused, false)
  // With its last connection the one before has ended, long before its drain time is over.
  await gateway.logged('stop', 1)
})

test('SIGUSR2 that reaches the gateway itself does it no harm', async (t) => {
  const { gateway } = await start(t)
  process.kill(children(gateway)[0] ?? 0, 'SIGUSR2')
  assertAccepted(await (await clientOf(t, gateway)).send())
  await gateway.stop()
})

test('SIGHUP goes to the gateway', async (t) => {
  const { gateway } = await start(t)
  await gateway.renewCertificate()
  process.kill(gateway.pid, 'SIGHUP')
  await gateway.logged('reload', 1)
})

test('a stop that reaches parent and gateway at once is one stop', async (t) => {
  const { gateway, collector } = await start(t)
  collector.behave({ kind: 'slow' })
  const answer = (await clientOf(t, gateway)).send({ message: Buffer.from('under way') })
  await collector.hasReached(1)
  // As Ctrl-C does, and systemd at the end of a unit.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.kill(children(gateway)[0] ?? 0, signal)
  process.kill(gateway.pid, 'SIGINT')
  await gateway.logged('draining', 1)
  collector.resumeReading()
  assertAccepted(await answer)
  assert.deepEqual(await gateway.exit(), { code: 0, signal: null })
})

test('a stop while the next gateway gets ready ends both', async (t) => {
  const { gateway } = await start(t)
  process.kill(gateway.pid, 'SIGUSR2')
  await gateway.logged('restart', 1)
  process.kill(gateway.pid, 'SIGTERM')
  assert.deepEqual(await gateway.exit(), { code: 0, signal: null }, gateway.output())
})
