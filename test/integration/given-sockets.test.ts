/** Sockets that the starter of the gateway has opened, as systemd does: taken over, or told why not. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { BoundSocket, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { assertAccepted } from '../support/answers.ts'
import { Child } from '../support/child.ts'
import { Client } from '../support/client.ts'
import { startCollector } from '../support/collector.ts'
import { TOKEN } from '../support/spawn-gateway.ts'
import { ROOT } from '../support/tools.ts'

interface Start {
  readonly descriptors: readonly number[]
  /** LISTEN_FDNAMES. */
  readonly names: string
  /** LISTEN_FDS; default the number of descriptors. */
  readonly count?: string
  readonly env?: Readonly<Record<string, string>>
}

/** Starts the gateway as systemd does: the variable names the process, which is known only in it. */
function startWith(
  t: TestContext,
  folder: string,
  { descriptors, names, count, env }: Start,
): Child {
  const main = join(ROOT, 'src/main.ts')
  const child = new Child(
    '/bin/sh',
    [
      '-c',
      'LISTEN_PID=$$ exec "$0" "$@"',
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      main,
    ],
    {
      cwd: folder,
      descriptors,
      env: {
        PATH: process.env.PATH,
        LISTEN_FDS: count ?? String(descriptors.length),
        LISTEN_FDNAMES: names,
        TOLLGATE_GRPC_LISTEN: '127.0.0.1:0',
        TOLLGATE_HTTP_LISTEN: '127.0.0.1:0',
        TOLLGATE_ADMIN_LISTEN: '127.0.0.1:0',
        TOLLGATE_TLS: 'off',
        TOLLGATE_TOKENS: `tests=${TOKEN}`,
        TOLLGATE_LOG_FORMAT: 'json',
        ...env,
      },
    },
  )
  t.after(() => child.kill('SIGKILL'))
  return child
}

async function scene(t: TestContext) {
  const collector = await startCollector()
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-given-'))
  t.after(async () => {
    collector.die()
    await rm(folder, { recursive: true, force: true })
  })
  const env = { TOLLGATE_COLLECTOR_GRPC: `http://127.0.0.1:${collector.grpcPort}` }
  const bind = () => {
    const socket = new BoundSocket({ host: '127.0.0.1' })
    t.after(() => socket.close())
    return { fd: socket.fd(), at: `127.0.0.1:${socket.address().port}` }
  }
  return { folder, env, bind }
}

async function listening(child: Child): Promise<Readonly<Record<string, unknown>>> {
  return await child.line('stderr', (line) =>
    line.includes('"event":"listening"')
      ? (JSON.parse(line) as Record<string, unknown>)
      : undefined,
  )
}

for (const parent of ['on', 'off'] as const) {
  test(`TOLLGATE_PARENT=${parent}: all three are taken over`, async (t) => {
    const { folder, env, bind } = await scene(t)
    const [admin, http, grpc] = [bind(), bind(), bind()]
    const child = startWith(t, folder, {
      descriptors: [admin.fd, http.fd, grpc.fd],
      names: 'admin:http:grpc',
      env: { ...env, TOLLGATE_PARENT: parent },
    })
    const at = await listening(child)
    assert.deepEqual([at.grpc, at.http, at.admin], [grpc.at, http.at, admin.at])
    assert.equal((await fetch(`http://${admin.at}/healthz`)).status, 200)
    for (const [way, address] of [
      ['gRPC', grpc.at],
      ['HTTP/1.1', http.at],
    ] as const) {
      const client = new Client({ way, address, caPem: undefined, token: TOKEN })
      t.after(() => client.close())
      assertAccepted(await client.send())
    }
    child.kill('SIGTERM')
    assert.deepEqual(await child.exit, { code: 0, signal: null }, child.output)
  })

  test(`TOLLGATE_PARENT=${parent}: who connects between a stop and the next start is served`, async (t) => {
    const { folder, env, bind } = await scene(t)
    const grpc = bind()
    const given = {
      descriptors: [grpc.fd],
      names: 'grpc',
      env: { ...env, TOLLGATE_PARENT: parent, TOLLGATE_HTTP_LISTEN: 'off' },
    }
    const first = startWith(t, folder, given)
    await listening(first)
    first.kill('SIGTERM')
    await first.exit
    const client = new Client({ way: 'gRPC', address: grpc.at, caPem: undefined, token: TOKEN })
    t.after(() => client.close())
    const answer = client.send()
    answer.catch(() => {})
    // The kernel has taken the connection: nobody else is there.
    await once(client.session, 'connect')
    await listening(startWith(t, folder, given))
    assertAccepted(await answer)
  })
}

test('what is not given is opened as configured', async (t) => {
  const { folder, env, bind } = await scene(t)
  const http = bind()
  const child = startWith(t, folder, { descriptors: [http.fd], names: 'http', env })
  const at = await listening(child)
  assert.equal(at.http, http.at)
  assert.match(String(at.grpc), /^127\.0\.0\.1:\d+$/)
})

/** Ends with 64 and says these words. */
async function assertRefused(child: Child, words: RegExp): Promise<void> {
  const { code } = await child.exit
  assert.equal(code, 64, child.output)
  assert.match(child.output, words)
  assert.doesNotMatch(child.output, /^ {4}at /m, 'no stack')
}

for (const [names, count, words] of [
  [
    'tollgate.socket',
    undefined,
    /the socket "tollgate\.socket": expected one of grpc, http, admin; with systemd, FileDescriptorName=/,
  ],
  [
    'grpc:http',
    undefined,
    /LISTEN_FDNAMES="grpc:http" has 2 names for the 1 sockets of LISTEN_FDS/,
  ],
  ['', undefined, /LISTEN_FDNAMES="" has 0 names/],
  ['grpc', 'one', /LISTEN_FDS="one": expected a number/],
  ['grpc:grpc', '2', /two sockets are called grpc/],
  [
    'grpc:http',
    '2',
    /the socket http: descriptor 4 is not open|the socket http: descriptor 4 is no socket/,
  ],
] as const) {
  test(`LISTEN_FDNAMES=${names}, LISTEN_FDS=${count ?? 1}`, async (t) => {
    const { folder, env, bind } = await scene(t)
    const { fd } = bind()
    const child = startWith(t, folder, { descriptors: [fd], names, env, ...(count && { count }) })
    await assertRefused(child, words)
  })
}

test('a socket for a port that is off', async (t) => {
  const { folder, env, bind } = await scene(t)
  const child = startWith(t, folder, {
    descriptors: [bind().fd],
    names: 'admin',
    env: { ...env, TOLLGATE_ADMIN_LISTEN: 'off' },
  })
  await assertRefused(child, /TOLLGATE_ADMIN_LISTEN is off, but a socket called admin was given/)
})

for (const name of ['grpc', 'admin'] as const) {
  for (const parent of ['on', 'off'] as const) {
    const how = `as ${name}, TOLLGATE_PARENT=${parent}`

    test(`a file ${how}`, async (t) => {
      const { folder, env } = await scene(t)
      const fd = openSync('/dev/null', 'r')
      t.after(() => closeSync(fd))
      const given = { descriptors: [fd], names: name, env: { ...env, TOLLGATE_PARENT: parent } }
      await assertRefused(
        startWith(t, folder, given),
        /descriptor 3 is no socket; expected a listening TCP socket/,
      )
    })

    test(`a unix socket ${how}`, async (t) => {
      const { folder, env } = await scene(t)
      const server = createServer().listen(join(folder, 'some.sock'))
      t.after(() => server.close())
      await once(server, 'listening')
      const { fd } = (server as unknown as { _handle: { fd: number } })._handle
      const given = { descriptors: [fd], names: name, env: { ...env, TOLLGATE_PARENT: parent } }
      await assertRefused(startWith(t, folder, given), /expected a listening TCP socket/)
    })
  }
}
