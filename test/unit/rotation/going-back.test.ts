/** Going back from every step that a rotation can stand at. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { advance } from '../../../src/rotation/advance.ts'
import { risksOfAbort } from '../../../src/rotation/go-back.ts'
import { type Rotation, STEPS } from '../../../src/rotation/rotation.ts'
import { Crash, DAY_MS, isAccepted, OLD, oldEntry, PLAN, Scene } from './scene.ts'

const OWN_END = { expiresAt: '2027-03-01T00:00:00Z' }

/** A rotation that stands at a step. */
async function standingAt(step: Rotation['step']): Promise<Scene> {
  for (let at = 1; ; at += 1) {
    const scene = new Scene([oldEntry(OWN_END)])
    scene.endAt(at, true)
    await scene.run().catch((error: unknown) => {
      if (!(error instanceof Crash)) throw error
    })
    scene.goOn()
    if (step === 'revoke' && scene.rotation?.step === 'watch') {
      scene.readEverywhere()
      scene.use(scene.places.get('memory:a') ?? assert.fail('nothing was delivered'))
      scene.pass(DAY_MS)
      await scene.run()
    }
    if (scene.rotation?.step === step) return scene
  }
}

for (const step of STEPS)
  for (const keepsNew of [false, true])
    test(`from ${step}, and the new token is ${keepsNew ? 'kept' : 'revoked'}`, async () => {
      const scene = await standingAt(step)
      const rotation = scene.rotation ?? assert.fail('nothing was begun')
      const standing = await advance({ ...rotation, abort: { keepsNew } }, scene.world)
      assert.deepEqual(standing, { kind: 'finished', outcome: 'aborted' })
      assert.deepEqual(
        scene.entries.find(({ id }) => id === 'old'),
        oldEntry(OWN_END),
      )
      const created = scene.entries.find(({ id }) => id === rotation.id)
      if (created !== undefined) assert.equal(isAccepted(created, scene.wallMs), keepsNew)
      assert.equal(scene.journal, undefined)
      scene.readEverywhere()
      assert.ok(scene.use(OLD))
      assert.equal(scene.told.at(-1), 'aborted')
    })

test('the end that an old token had is not forgotten, wherever the rotation was killed', async () => {
  for (const hasEffect of [false, true])
    for (let at = 1, isOver = false; !isOver; at += 1) {
      const scene = new Scene([oldEntry(OWN_END)])
      scene.endAt(at, hasEffect)
      isOver = await scene.run().then(
        () => true,
        () => false,
      )
      scene.goOn()
      scene.pass(1000)
      await scene.run()
      const rotation = scene.rotation ?? assert.fail('nothing was begun')
      assert.equal(rotation.step, 'watch')
      await advance({ ...rotation, abort: { keepsNew: true } }, scene.world)
      assert.deepEqual(scene.entries[0], oldEntry(OWN_END))
    }
})

test('what could be lost is said: whoever has the new token, or may have it', async () => {
  const ask = async (scene: Scene) =>
    risksOfAbort(
      scene.rotation ?? assert.fail('nothing was begun'),
      await scene.world.gateways.ask(PLAN.gateways),
    )
  assert.deepEqual(await ask(await standingAt('publish')), [])
  assert.deepEqual(await ask(await standingAt('accept')), [])
  const scene = await standingAt('watch')
  const has = (await ask(scene)).join('\n')
  assert.match(
    has,
    /^memory:a has the new token \w+ already\nmemory:b has the new token \w+ already$/,
  )
  scene.use(scene.places.get('memory:a') ?? '')
  assert.match((await ask(scene)).join('\n'), /the new token \w+ is in use already/)
  // Killed between a delivery and its line in the journal.
  for (let at = 1; ; at += 1) {
    const killed = new Scene()
    killed.endAt(at, true)
    await killed.run().catch(() => undefined)
    killed.goOn()
    if (killed.places.size === 0) continue
    assert.match((await ask(killed)).join('\n'), /^memory:a may have the new token \w+ already$/)
    break
  }
})

test('a token that somebody revoked meanwhile stays revoked', async () => {
  const scene = await standingAt('watch')
  const revokedAt = new Date(scene.wallMs).toISOString()
  scene.edit(scene.entries.map((entry) => (entry.id === 'old' ? { ...entry, revokedAt } : entry)))
  const rotation = scene.rotation ?? assert.fail('nothing was begun')
  await advance({ ...rotation, abort: { keepsNew: true } }, scene.world)
  assert.equal(scene.entries.find(({ id }) => id === 'old')?.revokedAt, revokedAt)
})
