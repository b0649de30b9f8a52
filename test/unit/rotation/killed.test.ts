/** A rotation may be killed at any moment, any number of times, and always ends right. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { advance } from '../../../src/rotation/advance.ts'
import type { Rotation } from '../../../src/rotation/rotation.ts'
import { digestOf } from '../../../src/stores/token-secret.ts'
import { Crash, DAY_MS, HOUR_MS, isAccepted, OLD, oldEntry, PLAN, Scene } from './scene.ts'

/** Runs until the rotation is over, an hour apart, with an agent that takes what is delivered. */
async function toTheEnd(scene: Scene): Promise<void> {
  for (let hour = 0; hour < 24 * 60 && scene.history.length === 0; hour += 1) {
    await scene.run()
    assertNothingLost(scene)
    scene.readEverywhere()
    scene.pass(HOUR_MS)
    const token = scene.places.get('memory:a') ?? OLD
    if (hour < 5) scene.use(OLD)
    else assert.ok(scene.use(token), 'the token that was delivered last is accepted')
  }
}

/** The old token was ended only when nobody had used it for the quiet time, and somebody the new one. */
function assertNothingLost({ ends }: Scene): void {
  for (const { quietMs, isNewUsed } of ends) {
    assert.ok(quietMs >= PLAN.quietMs, 'the old token lives while it is used')
    assert.ok(isNewUsed, 'the old token lives until the new one was used')
  }
}

/** What must hold of everything that happened, in its order. */
function assertOrders(scene: Scene): void {
  const journaled = new Set<string>()
  const published = new Set<string>()
  let delivered = new Set<string>()
  let last: Rotation | undefined
  for (const each of scene.happened) {
    if (each.kind === 'saved') {
      journaled.add(each.rotation.sha256)
      last = each.rotation
    }
    if (each.kind === 'ended') delivered = new Set()
    if (each.kind === 'delivered') {
      assert.ok(published.has(digestOf(each.token)), 'none is delivered before it is published')
      assert.ok(each.wasAccepted, 'none is delivered before it is accepted')
      delivered.add(each.place)
    }
    if (each.kind !== 'written') continue
    for (const { id, sha256, retiringAt, expiresAt, revokedAt } of each.entries) {
      if (id === 'old') {
        const isTouched = [retiringAt, expiresAt, revokedAt].some((date) => date !== undefined)
        if (isTouched && last?.abort === undefined)
          assert.equal(delivered.size, PLAN.deliver.length, 'nothing is retired before all have it')
      } else if (id !== 'bystander') {
        assert.ok(journaled.has(sha256), 'none is published before it is in the journal')
        published.add(sha256)
      }
    }
  }
}

function assertEndedRight(scene: Scene): void {
  const usable = scene.entries.filter((entry) => isAccepted(entry, scene.wallMs))
  const own = usable.filter(({ holder }) => holder === 'web-shop')
  assert.equal(own.length, 1, 'one token of the holder is accepted')
  assert.equal(own[0]?.id, scene.history[0]?.id)
  for (const token of scene.places.values()) assert.equal(digestOf(token), own[0]?.sha256)
  assert.deepEqual(
    scene.entries.map(({ id }) => id),
    ['old', 'bystander', scene.history[0]?.id],
    'no orphan is left',
  )
  assert.deepEqual(scene.entries[1], bystander())
  assert.equal(scene.history.length, 1)
  const steps = ['published', 'accepted', 'delivered', 'retiring', 'refused', 'revoked', 'finished']
  for (const name of steps) assert.ok(scene.told.includes(name), `${name} is in the audit log`)
}

function bystander() {
  return oldEntry({
    id: 'bystander',
    holder: 'database',
    sha256: digestOf('the-token-of-the-database'),
  })
}

async function runTo(scene: Scene, at: number, hasEffect: boolean): Promise<boolean> {
  scene.endAt(at, hasEffect)
  try {
    await scene.run()
    return false
  } catch (error) {
    if (!(error instanceof Crash)) throw error
    return true
  } finally {
    scene.goOn()
  }
}

suite('a rotation that is killed', () => {
  test('at each operation of each run, before and after its effect', async () => {
    let count = 0
    // Days between the runs, so that all steps are met: until it is watched, refused, revoked.
    for (const days of [0, 2, 4])
      for (const hasEffect of [false, true])
        for (let at = 1; ; at += 1) {
          const scene = new Scene([oldEntry(), bystander()])
          for (let day = 0; day < days; day += 1) {
            await scene.run()
            scene.readEverywhere()
            scene.use(scene.places.get('memory:a') ?? OLD)
            scene.pass(DAY_MS)
          }
          if (scene.history.length > 0) break
          const isKilled = await runTo(scene, at, hasEffect)
          if (!isKilled) break
          count += 1
          await toTheEnd(scene)
          assertOrders(scene)
          assertEndedRight(scene)
        }
    assert.ok(count > 60, `${count} moments`)
  })

  test('any number of times, anywhere, with editors, gateways and places that come and go', async () => {
    const trouble = fc.record({
      at: fc.integer({ min: 1, max: 40 }),
      hasEffect: fc.boolean(),
      hours: fc.integer({ min: 0, max: 40 }),
      isGatewayAway: fc.boolean(),
      isGatewayStuck: fc.boolean(),
      isPlaceClosed: fc.boolean(),
      edits: fc.integer({ min: 0, max: 3 }),
      usesOld: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(trouble, { maxLength: 12 }), async (troubles) => {
        const scene = new Scene([oldEntry(), bystander()])
        for (const each of troubles) {
          if (scene.history.length > 0) break
          let edits = each.edits
          scene.beforeWrite = () => {
            if (edits > 0) scene.edit([...scene.entries])
            edits -= 1
          }
          setIn(scene.away, 'http://10.0.0.5:9464', each.isGatewayAway)
          setIn(scene.stuck, 'local', each.isGatewayStuck)
          setIn(scene.closed, 'memory:b', each.isPlaceClosed)
          await runTo(scene, each.at, each.hasEffect)
          assertNothingLost(scene)
          scene.readEverywhere()
          scene.pass(each.hours * HOUR_MS)
          if (each.usesOld) scene.use(OLD)
          else scene.use(scene.places.get('memory:a') ?? OLD)
        }
        for (const set of [scene.away, scene.stuck, scene.closed]) set.clear()
        scene.beforeWrite = () => {}
        await toTheEnd(scene)
        assertOrders(scene)
        assertEndedRight(scene)
      }),
      { numRuns: 300 },
    )
  })

  test('while it goes back', async () => {
    for (const days of [0, 1])
      for (const hasEffect of [false, true])
        for (let at = 1; ; at += 1) {
          const scene = new Scene([oldEntry({ expiresAt: '2027-03-01T00:00:00Z' }), bystander()])
          if (days === 0) await runTo(scene, 9, false)
          else await scene.run()
          const rotation: Rotation = {
            ...(scene.rotation ?? assert.fail('nothing was begun')),
            abort: { keepsNew: false },
          }
          scene.journal = JSON.stringify(rotation)
          scene.endAt(at, hasEffect)
          const isKilled = await advance(rotation, scene.world).then(
            () => false,
            (error) => error instanceof Crash,
          )
          scene.goOn()
          if (scene.history.length === 0) await scene.run()
          const old = scene.entries.find(({ id }) => id === 'old')
          assert.deepEqual(old, oldEntry({ expiresAt: '2027-03-01T00:00:00Z' }))
          const created = scene.entries.find(({ id }) => id === rotation.id)
          assert.ok(created === undefined || created.revokedAt !== undefined)
          assert.deepEqual(
            scene.history.map(({ outcome }) => outcome),
            ['aborted'],
          )
          if (!isKilled) break
        }
  })
})

function setIn(set: Set<string>, value: string, isIn: boolean): void {
  if (isIn) set.add(value)
  else set.delete(value)
}
