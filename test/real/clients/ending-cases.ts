/** Cases about calls and connections that end: deadlines, cancelled calls, tokens that change, a drain. */
import assert from 'node:assert/strict'
import { TOKEN } from '../../support/gateway.ts'
import type { Case } from './message-cases.ts'
import { bearer, CODE, HTTP2_CANCEL, messageOf, type Scene } from './scene.ts'

/** The collector learns that nobody waits any more. */
async function cancelledAtCollector({ collector }: Scene): Promise<void> {
  await collector.until(() => collector.reached.every(({ resetCode }) => resetCode !== undefined))
  for (const { resetCode } of collector.reached) assert.equal(resetCode, HTTP2_CANCEL)
}

export const ENDING_CASES: readonly Case[] = [
  {
    title: 'deadlines',
    async run(scene) {
      const name = await scene.connect()
      const message = await scene.messages.of(5000)
      await scene.accepted(name, message)
      scene.forget()
      scene.collector.behave({ kind: 'stall' })
      const waits = [200, 300, 400, 500, 600, 700, 800, 900, 1000, 1300]
      const replies = await Promise.all(
        waits.map((timeoutMs) => scene.call(name, message, { timeoutMs })),
      )
      for (const { code, message: words } of replies) {
        // tonic's own timer has another word for it than the gateway, whichever is first.
        const isOwn = scene.library === 'tonic' && code === CODE.CANCELLED
        assert.ok(isOwn || code === CODE.DEADLINE_EXCEEDED, `code ${code}: ${words}`)
      }
      assert.equal(scene.collector.reached.length, waits.length)
      for (const { headers } of scene.collector.reached)
        assert.match(String(headers['grpc-timeout']), /^\d{1,4}m$/)
      await cancelledAtCollector(scene)
      scene.forget()
      await scene.accepted(name, message, { timeoutMs: 20_000 })
      return `${waits.length} calls`
    },
  },
  {
    title: 'cancelled while waiting',
    async run(scene) {
      const name = await scene.connect()
      const message = await scene.messages.of(5000)
      scene.collector.behave({ kind: 'stall' })
      const call = scene.start(name, message)
      await scene.collector.until(() => scene.collector.reached[0]?.isComplete === true)
      call.cancel()
      assert.equal((await call.reply).code, CODE.CANCELLED)
      await cancelledAtCollector(scene)
      scene.forget()
      await scene.accepted(name, message)
      return undefined
    },
  },
  {
    title: 'cancelled mid-upload',
    async run(scene) {
      const name = await scene.connect()
      const message = await scene.messages.of(5_000_000)
      scene.collector.behave({ kind: 'slow' })
      const calls = [scene.start(name, message), scene.start(name, message)]
      await scene.collector.hasReached(2)
      for (const call of calls) call.cancel()
      for (const { reply } of calls) assert.equal((await reply).code, CODE.CANCELLED)
      await cancelledAtCollector(scene)
      for (const { isComplete } of scene.collector.reached) assert.equal(isComplete, false)
      scene.collector.resumeReading()
      scene.forget()
      // What they had sent ahead does not narrow the connection for those that follow.
      await scene.accepted(name, message)
      await scene.accepted(name, message, { gzip: true })
      return undefined
    },
  },
  {
    title: 'token rotation',
    async run(scene) {
      const next = 'the-next-token-of-the-tests-0123456789'
      const name = await scene.connect()
      const message = await scene.messages.of(1000)
      await scene.accepted(name, message)
      const connections = await scene.connections()
      const code = async (token: string) =>
        (await scene.call(name, message, { metadata: [bearer(token)] })).code
      assert.equal(await code(next), CODE.UNAUTHENTICATED)
      await scene.writeTokens([TOKEN, next])
      assert.deepEqual([await code(TOKEN), await code(next)], [CODE.OK, CODE.OK])
      await scene.writeTokens([next])
      assert.deepEqual([await code(TOKEN), await code(next)], [CODE.UNAUTHENTICATED, CODE.OK])
      await scene.writeTokens([TOKEN])
      assert.deepEqual([await code(TOKEN), await code(next)], [CODE.OK, CODE.UNAUTHENTICATED])
      assert.equal(await scene.connections(), connections, 'connections made')
      return undefined
    },
  },
  // The last one: the gateway of the scene is not there afterwards.
  {
    title: 'drain, and another gateway on the port',
    async run(scene) {
      const { collector, gateway } = scene
      const name = await scene.connect()
      const held = await scene.messages.of(30_000)
      collector.behave({ kind: 'slow' })
      const inFlight = Array.from({ length: 5 }, () => scene.start(name, held))
      await collector.hasReached(5)
      collector.behave({ kind: 'ok' })
      const count = 2000
      const many = scene.many(name, await scene.messages.of(200), {
        count,
        parallel: 10,
        waits: true,
      })
      await collector.hasReached(105)
      process.kill(gateway.pid, 'SIGTERM')
      await gateway.logged('draining', 1)
      const successor = await scene.succeed()
      collector.resumeReading()
      for (const { reply } of inFlight) {
        const { code, message } = await reply
        assert.equal(code, CODE.OK, message)
      }
      assert.deepEqual(await gateway.exit(), { code: 0, signal: null })
      const reply = await many
      const numbered = collector.reached.filter((each) => each.bytes().length === 5 + 4 + 200)
      scene.assertEachOnce(reply, numbered, count)
      assert.ok(collector.reached.every((each) => messageOf(each).length > 0))
      const { accepted = 0 } = await successor.outcomes()
      assert.ok(accepted > 0, 'calls to the second gateway')
      return `${count - accepted} + ${accepted} calls`
    },
  },
]
