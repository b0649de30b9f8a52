import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { peerFromAddress } from '../../../src/edge/peer.ts'
import { formatBanFile, keepBans, parseBanFile } from '../../../src/stores/ban-file.ts'
import { Bans, type BansSnapshot } from '../../../src/stores/bans.ts'
import type { StateFileEvent } from '../../../src/stores/state-file.ts'

const HOUR_MS = 3_600_000
const attacker = { key: '203.0.113.7', address: '203.0.113.7' }
const agent = {
  id: 'agent',
  holder: 'agent',
  scopes: undefined,
  limits: { requests: undefined, bytes: undefined, inFlight: undefined },
}

/** Two clocks that stand still until they are set. */
class Hands {
  now = 1000
  wall = Date.UTC(2030, 0, 1)
  nowMs = () => this.now
  wallMs = () => this.wall
}

let dir: string
let path: string
let events: StateFileEvent[]
const onEvent = (event: StateFileEvent) => events.push(event)

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ban-file-'))
  path = join(dir, 'bans.json')
  events = []
})

afterEach(() => rm(dir, { recursive: true, force: true }))

function createBans(): Bans {
  return new Bans({
    strikes: 1,
    windowMs: 60_000,
    banMs: HOUR_MS,
    exempt: () => false,
    peerOf: peerFromAddress,
  })
}

/** Waits for what the file does beside the test; the test runner ends what never comes. */
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await sleep(5)
}

const isThere = (name: string) =>
  stat(name).then(
    () => true,
    () => false,
  )

describe('the file of bans', () => {
  it('brings bans over a restart, whatever the monotonic clock begins with', async () => {
    const clock = new Hands()
    const before = createBans()
    const file = await keepBans({ path, clock, onEvent }, before)
    before.vouch(attacker, agent, clock.now)
    before.strike(attacker, clock.now)
    await file.close()

    clock.now = 5
    clock.wall += 60_000
    const after = createBans()
    await (await keepBans({ path, clock, onEvent }, after)).close()
    assert.equal(after.remainingMs(attacker, clock.now), HOUR_MS - 60_000)
    assert.equal(after.isVouched(attacker, agent, clock.now), true)
    assert.deepEqual(events, [])
  })

  it('is written soon after a ban, for its owner alone, with nothing beside it', async () => {
    const clock = new Hands()
    const bans = createBans()
    const file = await keepBans({ path, clock, onEvent }, bans)
    bans.strike(attacker, clock.now)
    await until(() => isThere(path))
    assert.equal((await stat(path)).mode & 0o777, 0o600)
    const { bans: rows } = JSON.parse(await readFile(path, 'utf8'))
    assert.equal(rows[0].peer, '203.0.113.7')
    assert.equal(rows[0].until, '2030-01-01T01:00:00.000Z')
    await file.close()
    assert.deepEqual(await readdir(dir), ['bans.json'])
  })

  it('does not keep the process alive', async () => {
    const bans = createBans()
    const file = await keepBans({ path, clock: new Hands(), onEvent }, bans)
    bans.strike(attacker, 1000)
    assert.ok(!process.getActiveResourcesInfo().includes('Timeout'))
    await file.close()
  })

  it('is not written any more once closed', async () => {
    const clock = new Hands()
    const bans = createBans()
    const file = await keepBans({ path, clock, onEvent }, bans)
    await file.close()
    await rm(path)
    bans.strike(attacker, clock.now)
    assert.ok(!process.getActiveResourcesInfo().includes('Timeout'))
    assert.equal(await isThere(path), false)
  })

  it('is not there the first time, which is no event', async () => {
    const bans = createBans()
    const file = await keepBans({ path, clock: new Hands(), onEvent }, bans)
    assert.deepEqual(bans.list(0), [])
    assert.deepEqual(events, [])
    await file.close()
  })

  for (const [what, text] of Object.entries({
    'cut off': '{"version": 1, "bans": [{"peer": "203.0.1',
    empty: '',
    'of another version': '{"version": 2, "bans": [], "ended": [], "vouched": []}',
    'not of this shape': '{"version": 1, "bans": {}, "ended": [], "vouched": []}',
    'without a time':
      '{"version":1,"bans":[],"ended":[{"peer":"a","endedAt":"x","bans":1}],"vouched":[]}',
    null: 'null',
  })) {
    it(`is moved aside when it is ${what}, and bans go on from nothing`, async () => {
      await writeFile(path, text)
      const clock = new Hands()
      const bans = createBans()
      const file = await keepBans({ path, clock, onEvent }, bans)
      const movedTo = `${path}.broken-${clock.wall}`
      assert.equal(await readFile(movedTo, 'utf8'), text)
      assert.deepEqual(
        events.map(({ kind, path: of }) => [kind, of]),
        [['broken', path]],
      )
      bans.strike(attacker, clock.now)
      await file.close()
      assert.equal(JSON.parse(await readFile(path, 'utf8')).bans.length, 1)
    })
  }

  it('that cannot be saved is told once, and once when it can be again', async () => {
    const clock = new Hands()
    const bans = createBans()
    // A directory in the place of the file makes the rename fail as a full disk makes the write.
    const file = await keepBans({ path, clock, onEvent }, bans)
    await mkdir(join(path, 'in-the-way'), { recursive: true })
    bans.strike(attacker, clock.now)
    await until(() => events.length > 0)
    bans.lift(attacker.address, clock.now)
    bans.strike(attacker, clock.now)
    assert.equal(bans.isBanned(attacker, clock.now), true)
    await file.close()
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['unsaved'],
    )
    assert.deepEqual(await readdir(dir), ['bans.json'], 'nothing is left over')

    await rm(path, { recursive: true })
    await file.close()
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['unsaved', 'saved_again'],
    )
  })

  it('holds all bans set by hand, and the newest 10 000 of the others', async () => {
    const clock = new Hands()
    const bans = createBans()
    bans.add('198.51.100.1', undefined, clock.now)
    for (let at = 0; at < 10_500; at += 1) {
      const address = `10.0.${at >> 8}.${at & 0xff}`
      bans.strike({ key: address, address }, clock.now)
    }
    const file = await keepBans({ path, clock, onEvent }, bans)
    await file.close()
    const rows: { peer: string }[] = JSON.parse(await readFile(path, 'utf8')).bans
    assert.equal(rows.length, 10_001)
    assert.equal(rows[0]?.peer, '198.51.100.1')
    assert.equal(rows.at(-1)?.peer, '10.0.41.3')
  })

  it('never writes through a link that was laid beside it', async () => {
    const victim = join(dir, 'victim')
    await writeFile(victim, 'untouched')
    await symlink(victim, `${path}.new`)
    const file = await keepBans({ path, clock: new Hands(), onEvent }, createBans())
    await file.close()
    assert.equal(await readFile(victim, 'utf8'), 'untouched')
    assert.deepEqual(events, [])
  })
})

describe('when the wall clock steps', () => {
  async function restart(stepMs: number): Promise<{ bans: Bans; clock: Hands }> {
    const clock = new Hands()
    const before = createBans()
    const file = await keepBans({ path, clock, onEvent }, before)
    before.vouch(attacker, agent, clock.now)
    before.strike(attacker, clock.now)
    await file.close()
    clock.wall += stepMs
    clock.now = 0
    const bans = createBans()
    await (await keepBans({ path, clock, onEvent }, bans)).close()
    return { bans, clock }
  }

  it('back, a ban is not longer than it was', async () => {
    const { bans } = await restart(-10 * 24 * HOUR_MS)
    assert.equal(bans.remainingMs(attacker, 0), HOUR_MS)
    assert.equal(bans.isVouched(attacker, agent, 0), true)
    assert.equal(bans.isVouched(attacker, agent, 8 * 24 * HOUR_MS), false)
  })

  it('forward, a ban ends and is remembered', async () => {
    const { bans } = await restart(2 * HOUR_MS)
    assert.equal(bans.isBanned(attacker, 0), false)
    bans.strike(attacker, 0)
    assert.equal(bans.remainingMs(attacker, 0), 2 * HOUR_MS)
  })

  it('while the gateway runs, nothing changes', async () => {
    const clock = new Hands()
    const bans = createBans()
    const file = await keepBans({ path, clock, onEvent }, bans)
    bans.strike(attacker, clock.now)
    clock.wall -= 365 * 24 * HOUR_MS
    assert.equal(bans.remainingMs(attacker, clock.now), HOUR_MS)
    await file.close()
    const again = createBans()
    await (await keepBans({ path, clock, onEvent }, again)).close()
    assert.equal(again.remainingMs(attacker, clock.now), HOUR_MS)
  })
})

describe('the text of the file', () => {
  it('reads as it was written', () => {
    const ms = fc.integer({ min: 0, max: 1e12 })
    const word = fc.string({ minLength: 1 })
    const plain = { noNullPrototype: true } as const
    const ban = fc.record(
      {
        peerKey: word,
        address: word,
        remainingMs: ms,
        lengthMs: ms,
        repeats: fc.nat(),
        isManual: fc.boolean(),
      },
      plain,
    )
    const ended = fc.record({ peerKey: word, endedAgoMs: ms, bans: fc.nat() }, plain)
    const pair = fc.record({ peerKey: word, tokenId: word, usedAgoMs: ms }, plain)
    const snapshots: fc.Arbitrary<BansSnapshot> = fc.record(
      { bans: fc.array(ban), ended: fc.array(ended), vouched: fc.array(pair) },
      plain,
    )
    fc.assert(
      fc.property(snapshots, (snapshot) => {
        const wallMs = Date.UTC(2030, 0, 1)
        assert.deepEqual(parseBanFile(formatBanFile(snapshot, wallMs), wallMs), snapshot)
      }),
    )
  })
})
