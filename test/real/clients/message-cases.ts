/** Cases about bytes: sizes, compression, many calls on a connection. */
import assert from 'node:assert/strict'
import { gzipSync } from 'node:zlib'
import { createRandom, EDGE_SIZES, payload, shuffled } from './payloads.ts'
import { assertSameBytes, CODE, type Scene } from './scene.ts'

/** What a client is put through. */
export interface Case {
  readonly title: string
  /** Fails with an assertion. Returns what is worth a word in the table. */
  run(scene: Scene): Promise<string | undefined>
}

const SEED = 20_261_122
/** Clients take answers up to 4 MiB unless told. */
const ANSWER_SIZES = [0, 1, 5, 16_379, 16_384, 65_531, 65_535, 65_536, 262_145, 1_048_576]

/** Sizes below 100 kB, small ones as likely as large ones. */
function randomSizes(count: number, random: () => number): number[] {
  return Array.from({ length: count }, () => Math.floor(10 ** (random() * 5)))
}

async function sizes(scene: Scene, isGzip: (at: number) => boolean): Promise<string> {
  const random = createRandom(SEED)
  const name = await scene.connect()
  const list = shuffled([...EDGE_SIZES, ...randomSizes(12, random)], random)
  for (const [at, size] of list.entries()) {
    const message = await scene.messages.of(size)
    const gzip = isGzip(at)
    const reply = await scene.accepted(name, message, { gzip })
    assert.equal(reply.body, '', 'the empty answer')
    // Some libraries leave a message alone that would only grow.
    if (!gzip || size >= 1000) assert.equal(scene.only.bytes()[0], gzip ? 1 : 0, 'the flag')
  }
  return `${list.length} sizes`
}

export const MESSAGE_CASES: readonly Case[] = [
  { title: 'sizes', run: (scene) => sizes(scene, () => false) },
  { title: 'sizes, gzip', run: (scene) => sizes(scene, () => true) },
  { title: 'gzip or not, call by call', run: (scene) => sizes(scene, (at) => at % 3 !== 0) },
  {
    title: 'answers',
    async run(scene) {
      const random = createRandom(SEED)
      const name = await scene.connect()
      const message = await scene.messages.of(227)
      for (const size of shuffled([...ANSWER_SIZES, ...randomSizes(10, random)], random)) {
        const answer = payload(size, random)
        const isGzip = random() < 0.5
        scene.collector.script({
          kind: 'ok',
          message: isGzip ? gzipSync(answer) : answer,
          ...(isGzip ? { encoding: 'gzip' } : {}),
        })
        const { body } = await scene.accepted(name, message)
        assertSameBytes(Buffer.from(body ?? '', 'base64'), answer, 'the answer')
      }
      return undefined
    },
  },
  {
    title: '100 calls at once',
    async run(scene) {
      const name = await scene.connect()
      await scene.accepted(name, await scene.messages.of(1))
      const connections = await scene.connections()
      scene.forget()
      // None is answered before all of them are there.
      scene.collector.behave({ kind: 'slow' })
      const done = scene.acceptedMany(name, await scene.messages.of(1000), {
        count: 100,
        parallel: 100,
      })
      await scene.collector.hasReached(100)
      scene.collector.resumeReading()
      await done
      assert.equal(await scene.connections(), connections, 'connections made')
      return undefined
    },
  },
  {
    title: '100 at once, 20 kB each, 1000 in all',
    async run(scene) {
      const name = await scene.connect()
      await scene.acceptedMany(name, await scene.messages.of(20_000), {
        count: 1000,
        parallel: 100,
      })
      return undefined
    },
  },
  {
    title: '5000 in a row on a connection',
    async run(scene) {
      const name = await scene.connect()
      await scene.accepted(name, await scene.messages.of(1))
      const connections = await scene.connections()
      scene.forget()
      await scene.acceptedMany(name, await scene.messages.of(60), { count: 5000, parallel: 1 })
      assert.equal(await scene.connections(), connections, 'connections made')
      return undefined
    },
  },
  {
    title: 'too large',
    async run(scene) {
      const name = await scene.connect()
      const zeros = await scene.messages.named('zeros', () => Buffer.alloc(9_000_000))
      for (const gzip of [false, true]) {
        const reply = await scene.call(name, zeros, { gzip })
        assert.equal(reply.code, CODE.RESOURCE_EXHAUSTED, reply.message)
        assert.match(reply.message, /The message is too large/)
      }
      assert.deepEqual(
        scene.collector.reached.map(({ isComplete }) => isComplete).filter(Boolean),
        [],
        'messages that arrived whole',
      )
      await scene.accepted(name, await scene.messages.of(8 * 1024 * 1024))
      return undefined
    },
  },
]
