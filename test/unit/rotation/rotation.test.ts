/** One rotation from its beginning to its end, and what may come in between. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { advance } from '../../../src/rotation/advance.ts'
import { begin } from '../../../src/rotation/begin.ts'
import { entriesFrom } from '../../../src/rotation/set-entries.ts'
import { digestOf } from '../../../src/stores/token-secret.ts'
import { DAY_MS, HOLDER, HOUR_MS, OLD, oldEntry, PLAN, Scene, START_MS } from './scene.ts'

const iso = (ms: number) => new Date(ms).toISOString()

/** Runs until the old token is being watched. */
async function untilWatched(scene = new Scene()): Promise<Scene> {
  const standing = await scene.run()
  assert.equal(standing.kind, 'waiting', JSON.stringify(standing))
  assert.equal(scene.rotation?.step, 'watch')
  return scene
}

function newToken(scene: Scene): string {
  return scene.places.get('memory:a') ?? assert.fail('nothing was delivered')
}

function oldOf(scene: Scene) {
  return scene.entries.find(({ id }) => id === 'old')
}

suite('a rotation', () => {
  test('goes from one token to the next', async () => {
    const scene = await untilWatched()
    const token = newToken(scene)
    const created = scene.entries.find(({ id }) => id === scene.rotation?.id)
    const { id: _, sha256, createdAt, ...rest } = created ?? assert.fail('nothing was published')
    const { id: __, sha256: ___, createdAt: ____, ...model } = oldEntry()
    assert.deepEqual(rest, model, 'signals, addresses, limits and labels are taken over')
    assert.deepEqual([sha256, createdAt], [digestOf(token), iso(START_MS)])
    assert.deepEqual([...scene.places.values()], [token, token])
    assert.equal(scene.journal?.includes(token), false, 'the journal forgets what is delivered')
    const marked = oldOf(scene)
    assert.equal(marked?.replacedBy, scene.rotation?.id)
    assert.equal(marked?.expiresAt, iso(Date.parse(marked?.retiringAt ?? '') + 30 * DAY_MS))

    scene.readEverywhere()
    scene.pass(HOUR_MS)
    const usedMs = scene.wallMs
    assert.ok(scene.use(OLD), 'the old one opens the gate as before')
    assert.ok(scene.use(token, 'http://10.0.0.5:9464'))
    scene.pass(DAY_MS - HOUR_MS)
    const waiting = await scene.run()
    assert.ok(waiting.kind === 'waiting')
    assert.match(
      waiting.words,
      /last used on 2026-11-01T01.* from 203\.0\.113\.7 with an-sdk 1\.2\.3, quiet for 23h/,
    )
    assert.equal(waiting.untilMs, usedMs + DAY_MS)

    scene.pass(HOUR_MS)
    assert.equal((await scene.run()).kind, 'waiting')
    assert.equal(scene.rotation?.step, 'revoke')
    assert.equal(oldOf(scene)?.expiresAt, iso(scene.wallMs))
    scene.readEverywhere()
    assert.equal(scene.use(OLD), false)
    assert.ok(scene.use(token))

    const lastMs = scene.wallMs + HOUR_MS
    scene.refusals.set('old', { count: 3, lastMs, address: '203.0.113.9', program: 'an-sdk 1.0.0' })
    const refused = await scene.run()
    assert.ok(refused.kind === 'waiting')
    assert.match(
      refused.words,
      /; old was refused 6 times, last on .* from 203\.0\.113\.9 with an-sdk 1\.0\.0: give that agent the new token/,
    )

    scene.pass(DAY_MS)
    assert.deepEqual(await scene.run(), { kind: 'finished', outcome: 'finished' })
    assert.equal(oldOf(scene)?.revokedAt, iso(scene.wallMs))
    assert.equal(scene.journal, undefined)
    assert.deepEqual(
      scene.history.map(({ holder, old, outcome }) => ({ holder, old, outcome })),
      [{ holder: HOLDER, old: ['old'], outcome: 'finished' }],
    )
    assert.deepEqual(scene.told, [
      ...['created', 'published', 'accepted', 'delivered', 'delivered'],
      ...['retiring', 'refused', 'revoked', 'finished'],
    ])
    const everything = JSON.stringify(
      scene.happened.filter(({ kind }) => kind === 'told' || kind === 'written'),
    )
    assert.equal(
      everything.includes(token),
      false,
      'the token is nowhere but where it was delivered',
    )
  })

  test('a token that gateways still accept after its end is not revoked under its user', async () => {
    const scene = await untilWatched()
    scene.readEverywhere()
    scene.use(newToken(scene))
    scene.pass(DAY_MS)
    await scene.run()
    assert.equal(scene.rotation?.step, 'revoke')
    // Not read again since: as a gateway that was told to be lenient with the late.
    scene.pass(DAY_MS - HOUR_MS)
    assert.ok(scene.use(OLD))
    scene.pass(HOUR_MS)
    assert.equal((await scene.run()).kind, 'waiting')
    scene.pass(DAY_MS - HOUR_MS)
    assert.equal((await scene.run()).kind, 'finished')
  })

  test('waits for the first use of the new token, however quiet the old one is', async () => {
    const scene = await untilWatched()
    scene.readEverywhere()
    scene.pass(5 * DAY_MS)
    const standing = await scene.run()
    assert.ok(standing.kind === 'waiting')
    assert.match(standing.words, /the new token \w+ has not been used yet/)
    assert.ok(scene.use(OLD))
    assert.ok(scene.use(newToken(scene)))
    scene.pass(DAY_MS)
    await scene.run()
    assert.equal(scene.rotation?.step, 'revoke')
  })

  test('never takes a gateway that cannot be asked for one that saw nothing', async () => {
    const scene = await untilWatched()
    scene.readEverywhere()
    scene.use(newToken(scene))
    scene.away.add('http://10.0.0.5:9464')
    scene.pass(5 * DAY_MS)
    const standing = await scene.run()
    assert.ok(standing.kind === 'waiting')
    assert.match(
      standing.words,
      /gateway http:\/\/10\.0\.0\.5:9464 could not be asked: nobody listens/,
    )
    assert.equal(scene.rotation?.step, 'watch')
    scene.away.clear()
    await scene.run()
    assert.equal(scene.rotation?.step, 'revoke')
  })

  test('counts what any gateway saw, and remembers it when its ledger is lost', async () => {
    const scene = await untilWatched()
    scene.readEverywhere()
    scene.use(newToken(scene))
    scene.pass(DAY_MS - HOUR_MS)
    assert.ok(scene.use(OLD, 'http://10.0.0.5:9464'))
    await scene.run()
    scene.ledgers.set('http://10.0.0.5:9464', new Map())
    scene.pass(2 * HOUR_MS)
    await scene.run()
    assert.equal(scene.rotation?.step, 'watch')
    scene.pass(DAY_MS - 2 * HOUR_MS)
    await scene.run()
    assert.equal(scene.rotation?.step, 'revoke')
  })

  test('the deadline holds though nobody runs the command, and the holder is named', async () => {
    const scene = await untilWatched()
    scene.readEverywhere()
    scene.pass(30 * DAY_MS - 1)
    assert.ok(scene.use(OLD))
    scene.pass(1)
    assert.equal(scene.use(OLD), false)
    // Not even with a gateway away: the date is in the set.
    scene.away.add('http://10.0.0.5:9464')
    await scene.run()
    assert.equal(scene.rotation?.step, 'revoke')
    const refused = scene.happened.flatMap((each) =>
      each.kind === 'told' && each.event.name === 'refused' ? each.event.words : [],
    )
    assert.equal(refused.length, 1)
    assert.match(
      refused[0] ?? '',
      /its deadline has come; last used on .* from 203\.0\.113\.7 with an-sdk 1\.2\.3/,
    )
  })

  test('without a deadline an old token that is used lives on', async () => {
    const scene = new Scene()
    const { deadlineMs: _, ...plan } = PLAN
    await scene.run(plan)
    assert.equal(oldOf(scene)?.expiresAt, undefined)
    scene.readEverywhere()
    for (let day = 0; day < 100; day += 1) {
      scene.pass(DAY_MS)
      assert.ok(scene.use(OLD))
      scene.use(newToken(scene))
      await scene.run()
    }
    assert.equal(scene.rotation?.step, 'watch')
  })

  test('an end that the old token had already is never put off', async () => {
    const scene = new Scene([oldEntry({ expiresAt: iso(START_MS + 2 * DAY_MS) })])
    await scene.run()
    assert.equal(oldOf(scene)?.expiresAt, iso(START_MS + 2 * DAY_MS))
    const created = scene.entries.find(({ id }) => id === scene.rotation?.id)
    const lifetimeMs = START_MS + 2 * DAY_MS - Date.parse('2026-10-01T00:00:00Z')
    assert.equal(created?.expiresAt, iso(START_MS + lifetimeMs), 'and the new one lives as long')
  })

  test('several old tokens are each refused when they are unused', async () => {
    const other = oldEntry({
      id: 'older',
      sha256: digestOf('another-old-token'),
      createdAt: '2026-01-01',
    })
    const scene = await untilWatched(new Scene([other, oldEntry()]))
    scene.readEverywhere()
    scene.use(newToken(scene))
    scene.pass(DAY_MS - HOUR_MS)
    scene.use('another-old-token')
    scene.pass(HOUR_MS)
    await scene.run()
    assert.equal(scene.rotation?.step, 'watch')
    scene.readEverywhere()
    assert.deepEqual([scene.use(OLD), scene.use('another-old-token')], [false, true])
    scene.pass(DAY_MS)
    await scene.run()
    scene.pass(DAY_MS)
    assert.equal((await scene.run()).kind, 'finished')
    assert.deepEqual(
      scene.told.filter((name) => name === 'refused' || name === 'revoked'),
      [...['refused', 'refused', 'revoked', 'revoked']],
    )
  })

  test('tokens of others, and ones made later by hand, are left alone', async () => {
    const others = [
      oldEntry({ id: 'db', holder: 'database', sha256: digestOf('a-token-of-the-database') }),
    ]
    const scene = await untilWatched(new Scene([oldEntry(), ...others]))
    const byHand = oldEntry({ id: 'by-hand', sha256: digestOf('a-token-made-by-hand') })
    scene.edit([...scene.entries, byHand])
    scene.readEverywhere()
    scene.use(newToken(scene))
    for (let day = 0; day < 2; day += 1) {
      scene.pass(DAY_MS)
      await scene.run()
    }
    assert.equal(scene.journal, undefined)
    assert.deepEqual(
      scene.entries.filter(({ id }) => id === 'db' || id === 'by-hand'),
      [...others, byHand],
    )
  })

  test('entries that were revoked long ago are dropped on the way', async () => {
    const gone = oldEntry({
      id: 'gone',
      sha256: digestOf('gone'),
      revokedAt: iso(START_MS - 91 * DAY_MS),
    })
    const recent = oldEntry({
      id: 'recent',
      sha256: digestOf('recent'),
      revokedAt: iso(START_MS - 89 * DAY_MS),
    })
    const scene = await untilWatched(new Scene([gone, recent, oldEntry()]))
    assert.deepEqual(
      scene.entries.map(({ id }) => id),
      ['recent', 'old', scene.rotation?.id],
    )
  })

  test('a token that is not valid yet is withdrawn, not left with an end before its beginning', async () => {
    const later = oldEntry({
      id: 'later',
      sha256: digestOf('later'),
      notBefore: iso(START_MS + 90 * DAY_MS),
    })
    const scene = await untilWatched(new Scene([oldEntry(), later]))
    assert.ok(scene.entries.find(({ id }) => id === 'later')?.revokedAt)
    entriesFrom(JSON.stringify({ tokens: scene.entries }), 'the set')
  })
})

suite('what gets in the way', () => {
  test('a gateway that does not take the set up keeps the token from being delivered', async () => {
    const scene = new Scene()
    scene.stuck.add('http://10.0.0.5:9464')
    const standing = await scene.run()
    assert.ok(standing.kind === 'stopped' && standing.isTemporary)
    assert.match(
      standing.words,
      /the gateway http:\/\/10\.0\.0\.5:9464 does not have the token \w+ yet/,
    )
    assert.equal(scene.places.size, 0)
    assert.equal(scene.rotation?.problem, standing.words)
    scene.stuck.clear()
    scene.readEverywhere()
    await untilWatched(scene)
    assert.equal(scene.rotation?.problem, undefined)
  })

  test('a run that has waited for another holder in vain does not wait as long again', async () => {
    const scene = new Scene()
    scene.stuck.add('local')
    const rotation = await begin(HOLDER, PLAN, scene.world)
    const standing = await advance(rotation, { ...scene.world, isHurried: () => true })
    assert.equal(standing.kind, 'stopped')
    assert.ok(scene.wallMs - START_MS < 10_000)
    scene.stuck.clear()
    assert.equal((await scene.run()).kind, 'waiting')
  })

  test('a gateway that was set back between two runs is noticed before the next delivery', async () => {
    const scene = new Scene()
    scene.closed.add('memory:b')
    const standing = await scene.run()
    assert.ok(standing.kind === 'stopped')
    assert.match(standing.words, /memory:b: is closed; open it/)
    assert.deepEqual([...scene.places.keys()], ['memory:a'])
    assert.equal(oldOf(scene)?.retiringAt, undefined, 'nothing is retired before all have it')
    scene.closed.clear()
    scene.inForce.set('local', [oldEntry()])
    scene.stuck.add('local')
    assert.equal((await scene.run()).kind, 'stopped')
    assert.deepEqual([...scene.places.keys()], ['memory:a'])
    scene.stuck.clear()
    await untilWatched(scene)
    assert.equal(scene.told.filter((name) => name === 'delivered').length, 2, 'each once')
  })

  test('an editor in between is overtaken, and loses nothing', async () => {
    const scene = new Scene()
    let edits = 0
    scene.afterRead = () => {
      if (edits >= 5) return
      edits += 1
      scene.edit([
        ...scene.entries,
        oldEntry({ id: `edit-${edits}`, holder: 'editor', sha256: digestOf(`edit-${edits}`) }),
      ])
    }
    await untilWatched(scene)
    assert.equal(scene.entries.filter(({ holder }) => holder === 'editor').length, 5)
    assert.equal(scene.entries.filter(({ id }) => id === scene.rotation?.id).length, 1)
  })

  test('an editor without end is told of', async () => {
    const scene = new Scene()
    scene.beforeWrite = () => scene.edit([...scene.entries])
    const standing = await scene.run()
    assert.ok(standing.kind === 'stopped' && standing.isTemporary)
    assert.match(standing.words, /memory:set: somebody else changed it each of the 20 times/)
  })

  test('a set that is spoilt stops the rotation and is not written over', async () => {
    const scene = await untilWatched()
    scene.edit([...scene.entries, oldEntry()])
    const before = scene.entries
    const standing = await scene.run()
    assert.ok(standing.kind === 'stopped' && !standing.isTemporary)
    assert.match(standing.words, /is the same as in tokens\[0\]/)
    assert.equal(scene.entries, before)
  })

  test('the old token stays where the new one was withdrawn', async () => {
    const scene = await untilWatched()
    scene.readEverywhere()
    scene.use(newToken(scene))
    scene.edit(scene.entries.filter(({ id }) => id === 'old'))
    scene.pass(5 * DAY_MS)
    const standing = await scene.run()
    assert.ok(standing.kind === 'stopped')
    assert.match(standing.words, /no longer in memory:set, so the old one stays as it is/)
    assert.equal(oldOf(scene)?.revokedAt, undefined)
  })

  test('a holder without a token is told of', async () => {
    const scene = new Scene([oldEntry({ holder: 'somebody else' })])
    await assert.rejects(
      scene.run(),
      /memory:set has no token of "web-shop"; the first one is made by/,
    )
  })
})

suite('clocks', () => {
  test('a clock that steps back only makes it wait', async () => {
    const scene = await untilWatched()
    scene.readEverywhere()
    scene.use(newToken(scene))
    scene.wallMs -= 10 * DAY_MS
    scene.uptimeMs += DAY_MS
    assert.equal((await scene.run()).kind, 'waiting')
    assert.equal(scene.rotation?.step, 'watch')
    scene.pass(11 * DAY_MS)
    await scene.run()
    assert.equal(scene.rotation?.step, 'revoke')
  })

  test('a clock that jumps ahead makes no token look unused', async () => {
    const scene = await untilWatched()
    scene.readEverywhere()
    scene.use(newToken(scene))
    scene.pass(HOUR_MS)
    scene.use(OLD)
    scene.wallMs += 5 * DAY_MS
    scene.pass(1000)
    await scene.run()
    assert.equal(scene.rotation?.step, 'watch')
    scene.pass(DAY_MS)
    await scene.run()
    assert.equal(scene.rotation?.step, 'revoke')
  })

  test('gateways with another time are read by their own', async () => {
    const scene = await untilWatched()
    scene.readEverywhere()
    scene.gatewaysAheadMs = -3 * HOUR_MS
    scene.use(newToken(scene))
    scene.pass(2 * HOUR_MS)
    scene.use(OLD)
    scene.pass(DAY_MS - 1000)
    await scene.run()
    assert.equal(scene.rotation?.step, 'watch', 'by our clock the last use looks 27 hours old')
    scene.pass(1000)
    await scene.run()
    assert.equal(scene.rotation?.step, 'revoke')
  })
})
