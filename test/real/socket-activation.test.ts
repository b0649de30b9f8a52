/** systemd's own starter opens the sockets, and the gateway takes them over. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { assertAccepted } from '../support/answers.ts'
import { Child } from '../support/child.ts'
import { Client } from '../support/client.ts'
import { startCollector } from '../support/collector.ts'
import { TOKEN } from '../support/spawn-gateway.ts'
import { hasTools, ROOT, tool } from '../support/tools.ts'

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

for (const parent of ['on', 'off'] as const) {
  test(`systemd-socket-activate, TOLLGATE_PARENT=${parent}`, async (t) => {
    if (!hasTools(t, 'systemd-socket-activate')) return
    const collector = await startCollector()
    const folder = await mkdtemp(join(tmpdir(), 'tollgate-activation-'))
    t.after(async () => {
      collector.die()
      await rm(folder, { recursive: true, force: true })
    })
    const [grpc, http] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`]
    const env = {
      TOLLGATE_COLLECTOR_GRPC: `http://127.0.0.1:${collector.grpcPort}`,
      TOLLGATE_ADMIN_LISTEN: '127.0.0.1:0',
      TOLLGATE_TLS: 'off',
      // What the sockets are bound to is systemd's business; these say that TLS may be off.
      TOLLGATE_GRPC_LISTEN: '127.0.0.1:0',
      TOLLGATE_HTTP_LISTEN: '127.0.0.1:0',
      TOLLGATE_TOKENS: `tests=${TOKEN}`,
      TOLLGATE_STATE_DIR: folder,
      TOLLGATE_LOG_FORMAT: 'json',
      TOLLGATE_PARENT: parent,
    }
    const child = new Child(tool('systemd-socket-activate'), [
      ...['-l', grpc, '-l', http, '--fdname=grpc:http'],
      ...Object.entries(env).map(([name, value]) => `--setenv=${name}=${value}`),
      ...[process.execPath, '--disable-warning=ExperimentalWarning', join(ROOT, 'src/main.ts')],
    ])
    t.after(() => child.kill('SIGKILL'))
    await child.line('stderr', (line) => (line.includes(http) ? line : undefined))
    // The first connection starts it, and waits for it.
    for (const [way, address] of [
      ['gRPC', grpc],
      ['HTTP/1.1', http],
      ['HTTP/2', http],
    ] as const) {
      const client = new Client({ way, address, caPem: undefined, token: TOKEN })
      t.after(() => client.close())
      assertAccepted(await client.send())
    }
    const at = await child.line('stderr', (line) =>
      line.includes('"event":"listening"') ? (JSON.parse(line) as object) : undefined,
    )
    assert.deepEqual(at, { ...at, grpc, http })
    child.kill('SIGTERM')
    assert.deepEqual(await child.exit, { code: 0, signal: null }, child.output)
  })
}
