/** A token goes nowhere but to its check: not into logs, answers, metrics, files or the collector. */
import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createToken } from '../../src/stores/token-secret.ts'
import { WAYS } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'
import { openTls, textUntilClosed } from '../support/raw-socket.ts'

test('no token shows anywhere, whatever happens to its request', async (t) => {
  const good = createToken().token
  const plain = 'canary-of-another-make-0123456789'
  const unknown = createToken().token
  const expired = 'canary-that-expired-0123456789'
  const canaries = [good, plain, unknown, expired]
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-secrets-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const gateway = await startGateway(t, {
    env: {
      BAN_EXEMPT: 'none',
      BAN_STRIKES: '50',
      AUDIT_LOG: join(
        await import('node:os').then((os) => os.tmpdir()),
        `audit-${process.pid}.log`,
      ),
      HOLD: 'off',
      COLLECTOR_TIMEOUT: '100ms',
      MAX_BODY: '1MiB',
    },
    tokens: [
      { token: good, scopes: ['traces', 'logs'] },
      { token: plain },
      { token: expired, expiresAt: '2020-01-01T00:00:00Z' },
    ],
  })
  const seen: string[] = []
  for (const way of WAYS) {
    for (const token of canaries) {
      const client = gateway.connect(way, { token })
      const requests = [
        {},
        { signal: 'metrics' as const },
        { path: `/${token}` },
        // What a client writes about itself is logged: only a token of ours is known for one there.
        {
          headers: {
            'user-agent': token === plain || token === expired ? 'agent' : `with ${token}`,
          },
        },
        { headers: { traceparent: '00-1-1-01' } },
        { method: 'PUT' },
        { encoding: 'br' },
        { message: Buffer.alloc(way === 'HTTP/1.1' ? 20_000 : 2_000_000) },
        { message: Buffer.alloc(70_000, 'x'), encoding: 'gzip' },
        { headers: { 'content-type': `text/${token}` } },
      ]
      for (const request of requests) {
        const answer = await client.send(request)
        seen.push(JSON.stringify(answer), String(answer.body))
      }
      gateway.collector.script(
        { kind: 'refuse', httpStatus: 500 },
        { kind: 'stall' },
        { kind: 'die' },
      )
      for (let at = 0; at < 3; at += 1) seen.push(JSON.stringify(await client.send()))
    }
  }
  const raw = await openTls(gateway, 'http')
  raw.write(`POST /v1/traces HTTP/1.1\r\nauthorization: Bearer ${good}\r\n: no name\r\n\r\n`)
  seen.push(await textUntilClosed(raw))
  const metrics = await fetch(`http://${gateway.addresses.admin}/metrics`)
  seen.push(await metrics.text())
  for (const page of ['/', '/readyz']) {
    seen.push(await (await fetch(`http://${gateway.addresses.admin}${page}`)).text())
  }
  for (const { path, headers, bytes } of gateway.collector.reached)
    seen.push(path, JSON.stringify(withoutAgent(headers)), bytes().toString('latin1'))
  seen.push(await gateway.logText())
  for (const place of [folder, gateway.folder])
    for (const entry of await readdir(place, { withFileTypes: true }))
      if (entry.isFile()) seen.push(await readFile(join(place, entry.name), 'latin1'))
  const everything = seen.join('\n')
  assert.ok(everything.length > 10_000, 'the scenario left no trace at all')
  for (const canary of canaries) assert.ok(!everything.includes(canary), `${canary} shows`)
})

/** What a client writes about itself is its own affair, and travels to the collector. */
function withoutAgent(headers: object): object {
  return { ...headers, 'user-agent': undefined }
}
