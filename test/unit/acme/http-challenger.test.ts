import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { AcmeFault } from '../../../src/acme/acme-fault.ts'
import { HttpChallenger } from '../../../src/acme/http-challenger.ts'

const CHALLENGE = { name: 'a.example.test', token: 'tok-en_1', keyAuthorization: 'tok-en_1.print' }
const ANYWHERE = { host: '127.0.0.1', port: 0 }

test('it answers challenges and nothing else, and only while one waits', async () => {
  const challenger = new HttpChallenger(ANYWHERE)
  const isOpen = () => challenger.address !== undefined
  assert.ok(!isOpen())
  await challenger.show([CHALLENGE])
  const base = `http://127.0.0.1:${challenger.address?.port}`
  const path = '/.well-known/acme-challenge/tok-en_1'
  const good = await fetch(base + path)
  assert.equal(good.status, 200)
  assert.equal(await good.text(), CHALLENGE.keyAuthorization)
  for (const other of ['/', '/.well-known/acme-challenge/', `${path}x`, `${path}?a`, '/v1/traces'])
    assert.equal((await fetch(base + other)).status, 404, other)
  assert.equal((await fetch(base + path, { method: 'POST', body: 'x' })).status, 404)
  const head = await fetch(base + path, { method: 'HEAD' })
  assert.deepEqual([head.status, await head.text()], [200, ''])
  await challenger.withdraw()
  await assert.rejects(fetch(base + path))
  assert.ok(!isOpen())
  await challenger.withdraw()
})

test('a port that is taken is told of in words', async (t) => {
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  t.after(() => other.close())
  const { port } = other.address() as { port: number }
  const challenger = new HttpChallenger({ host: '127.0.0.1', port })
  await assert.rejects(challenger.show([CHALLENGE]), (error) => {
    assert.ok(error instanceof AcmeFault)
    assert.equal(error.kind, 'local')
    assert.match(
      error.message,
      new RegExp(
        `127\\.0\\.0\\.1:${port}, cannot be opened: another program has it; .*TOLLGATE_ACME_HTTP_LISTEN`,
      ),
    )
    return true
  })
})
