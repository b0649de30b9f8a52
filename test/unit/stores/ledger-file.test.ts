import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'
import fc from 'fast-check'
import { REFUSAL_REASONS } from '../../../src/pipeline/outcome.ts'
import { keepLedger, ledgerPieces, parseLedger } from '../../../src/stores/ledger-file.ts'
import type { StateFileEvent } from '../../../src/stores/state-file.ts'
import { rowOf } from '../../../src/stores/token-page.ts'
import type { TokenStore } from '../../../src/stores/tokens.ts'
import { arrival, bearer, ending, NOW, setOf, storeOf, tokenOf } from './token-fixtures.ts'

const clock = { nowMs: () => performance.now(), wallMs: () => NOW }

let dir: string
let path: string
let events: StateFileEvent[]
const onEvent = (event: StateFileEvent) => events.push(event)

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ledger-file-'))
  path = join(dir, 'ledger.json')
  events = []
})

afterEach(() => rm(dir, { recursive: true, force: true }))

const textOf = (store: TokenStore) => [...ledgerPieces(store, clock)].join('')
const rowsOf = (store: TokenStore) => [...store.statuses(NOW)].map(rowOf)

function usedStore(): TokenStore {
  const store = storeOf({ id: 'a' }, { id: 'late', expiresAt: '2026-01-01' }, { id: 'unused' })
  const token = tokenOf(store, 'a')
  store.used(token, arrival(), NOW)
  store.ended(arrival(), ending({ token, bytesIn: 227 }), NOW)
  store.verify(bearer('late'), arrival().peer, NOW)
  const late = arrival({ authorization: bearer('late'), userAgent: undefined })
  store.ended(late, ending({ outcome: 'token_expired' }), NOW + 1)
  return store
}

describe('the file of the ledger', () => {
  it('brings everything over a restart, and counts on from there', async () => {
    const before = usedStore()
    await (await keepLedger({ path, clock, onEvent }, before)).close()
    assert.equal((await stat(path)).mode & 0o777, 0o600)
    assert.deepEqual(await readdir(dir), ['ledger.json'])

    const after = storeOf({ id: 'a' }, { id: 'late', expiresAt: '2026-01-01' }, { id: 'unused' })
    const file = await keepLedger({ path, clock, onEvent }, after)
    assert.deepEqual(rowsOf(after), rowsOf(before))
    // Counters of the metrics page begin at 0 with the process.
    assert.equal([...after.statuses(NOW)][0]?.account.requests, 0)
    after.used(tokenOf(after, 'a'), arrival({ protocol: 'http' }), NOW + 10)
    const [row] = rowsOf(after)
    assert.deepEqual(
      [row?.requests, row?.bytes, row?.firstUsedAt, row?.lastUse?.protocol],
      [2, 227, new Date(NOW).toISOString(), 'http'],
    )
    await file.close()
    const [, late] = parseLedger(await readFile(path, 'utf8'))
    assert.deepEqual(late?.[1].before.refusals, new Map([['token_expired', 1]]))
    assert.deepEqual(events, [])
  })

  it('has nothing of a token that was never used, and no digest', () => {
    const text = textOf(usedStore())
    assert.deepEqual(
      JSON.parse(text).tokens.map(({ id }: { id: string }) => id),
      ['a', 'late'],
    )
    for (const { sha256 } of setOf({ id: 'a' }, { id: 'late' }).records)
      assert.ok(!text.includes(sha256))
  })

  it('begins anew for another token under the same id', async () => {
    await (await keepLedger({ path, clock, onEvent }, usedStore())).close()
    const other = storeOf({ id: 'a', secret: 'another-secret-secret' })
    await (await keepLedger({ path, clock, onEvent }, other)).close()
    assert.equal(rowsOf(other)[0]?.requests, 0)
  })

  it('keeps what is known of tokens that are not in the set yet', async () => {
    await (await keepLedger({ path, clock, onEvent }, usedStore())).close()
    const later = storeOf({ id: 'other' })
    await (await keepLedger({ path, clock, onEvent }, later)).close()
    later.swap(setOf({ id: 'a' }))
    assert.equal(rowsOf(later)[0]?.requests, 1)
  })

  it('is written five seconds after a use, without keeping the process alive', async (t) => {
    const store = usedStore()
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const file = await keepLedger({ path, clock: { ...clock, nowMs: () => 0 }, onEvent }, store)
    void textOf(store)
    store.used(tokenOf(store, 'a'), arrival(), NOW)
    t.mock.timers.tick(4999)
    assert.deepEqual(await readdir(dir), [])
    t.mock.timers.tick(1)
    mock.timers.reset()
    t.mock.timers.reset()
    await file.close()
    assert.equal(parseLedger(await readFile(path, 'utf8'))[0]?.[1].before.requests, 2)
  })

  for (const [what, text, why] of [
    ['no JSON', '{"version":1,', /JSON/],
    ['of another version', '{"version":2,"tokens":[]}', /version: got 2, expected 1/],
    ['without its list', '{"version":1}', /tokens: expected a list/],
    [
      'with a wrong row',
      '{"version":1,"tokens":[{"id":"a"}]}',
      /tokens\[0\]\.mark: expected a text/,
    ],
  ] as const) {
    it(`is moved aside where it is ${what}, and told of`, async () => {
      await writeFile(path, text)
      const store = usedStore()
      const before = rowsOf(store)
      const file = await keepLedger({ path, clock, onEvent }, store)
      const [event] = events
      assert.equal(event?.kind, 'broken')
      assert.match(event?.kind === 'broken' ? event.why : '', why)
      assert.equal(await readFile(`${path}.broken-${NOW}`, 'utf8'), text)
      assert.deepEqual(rowsOf(store), before)
      await file.close()
      assert.equal(parseLedger(await readFile(path, 'utf8')).length, 2)
    })
  }

  it('says once that it cannot be written, and once that it can again', async () => {
    const store = usedStore()
    const file = await keepLedger({ path: join(dir, 'none', 'l.json'), clock, onEvent }, store)
    await file.close()
    await file.close()
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['unsaved'],
    )
  })

  it('is tried again where it could not even be opened, though nothing more happens', async (t) => {
    const folder = join(dir, 'later')
    const store = usedStore()
    const failed = Promise.withResolvers<void>()
    const saved = Promise.withResolvers<void>()
    t.mock.timers.enable({ apis: ['setTimeout'] })
    let now = 0
    const file = await keepLedger(
      {
        path: join(folder, 'ledger.json'),
        clock: { nowMs: () => now, wallMs: () => NOW },
        onEvent: ({ kind }) => (kind === 'unsaved' ? failed : saved).resolve(),
      },
      store,
    )
    now += 5000
    t.mock.timers.tick(5000)
    await failed.promise
    await mkdir(folder)
    // The event is told before the next try is set.
    await Promise.resolve()
    now += 10_000
    t.mock.timers.tick(10_000)
    await saved.promise
    assert.equal(parseLedger(await readFile(join(folder, 'ledger.json'), 'utf8')).length, 2)
    await file.close()
  })

  it('reads what it writes, whatever happened', () => {
    const step = fc.record({
      id: fc.constantFrom('a', 'b'),
      bytesIn: fc.nat(),
      outcome: fc.constantFrom('accepted' as const, ...REFUSAL_REASONS),
      userAgent: fc.option(fc.string(), { nil: undefined }),
      at: fc.integer({ min: 1, max: 1e12 }),
    })
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const store = storeOf({ id: 'a' }, { id: 'b' })
        for (const { id, bytesIn, outcome, userAgent, at } of steps) {
          const token = tokenOf(store, id)
          const from = arrival({ userAgent })
          if (outcome === 'accepted') store.used(token, from, NOW + at)
          store.ended(from, ending({ outcome, token, bytesIn }), NOW + at)
        }
        const again = storeOf({ id: 'a' }, { id: 'b' })
        again.restore(parseLedger(textOf(store)))
        assert.deepEqual(rowsOf(again), rowsOf(store))
      }),
      { numRuns: 50 },
    )
  })
})
