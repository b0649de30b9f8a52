import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { awaitFirstByte } from '../../../src/edge/first-byte.ts'

async function pair(t: TestContext): Promise<{ near: Socket; far: Socket }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const far = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [near] = (await once(server, 'connection')) as [Socket]
  t.after(() => {
    for (const socket of [near, far]) socket.destroy()
    server.close()
  })
  return { near, far }
}

test('the first bytes are told of, and left to be read', async (t) => {
  const { near, far } = await pair(t)
  const spoken = new Promise<void>((resolve, reject) => {
    awaitFirstByte(near, 60_000, resolve, () => reject(new Error('silence')))
  })
  far.write('GET')
  await spoken
  assert.equal(near.listenerCount('readable'), 0)
  const [bytes] = (await once(near, 'data')) as [Buffer]
  assert.equal(bytes.toString(), 'GET')
})

test('silence is told of once, and what comes later is nothing new', async (t) => {
  const { near, far } = await pair(t)
  const told: string[] = []
  const silence = Promise.withResolvers<void>()
  const onByte = () => told.push('byte')
  awaitFirstByte(near, 1, onByte, () => {
    told.push('silence')
    silence.resolve()
  })
  await silence.promise
  far.write('GET')
  await once(near, 'data')
  assert.deepEqual(told, ['silence'])
})

test('a client that hangs up without a word is neither', async (t) => {
  const { near, far } = await pair(t)
  const told: string[] = []
  const onByte = () => told.push('byte')
  awaitFirstByte(near, 60_000, onByte, () => told.push('silence'))
  const closed = once(near, 'close')
  far.end()
  await closed
  assert.deepEqual(told, [])
})
