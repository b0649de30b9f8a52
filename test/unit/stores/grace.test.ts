import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { TokenStore } from '../../../src/stores/tokens.ts'
import { arrival, bearer, ending, gracious, NOW, peer, setOf, tokenOf } from './token-fixtures.ts'

const DAY_MS = 86_400_000
const expiresAt = new Date(NOW).toISOString()

const verdict = (store: TokenStore, id: string, at: number) => {
  const found = store.verify(bearer(id), peer, at)
  return typeof found === 'string' ? found : found.id
}

function use(store: TokenStore, id: string, at: number): void {
  const token = store.verify(bearer(id), peer, at)
  if (typeof token === 'string') assert.fail(token)
  store.used(token, arrival(), at)
}

describe('grace for the late', () => {
  it('is off unless asked for', () => {
    const { store } = gracious(0)
    store.swap(setOf({ id: 'old', expiresAt }))
    assert.equal(verdict(store, 'old', NOW), 'token_expired')
  })

  it('accepts a token past its end for so long, and marks it', () => {
    const { store, told } = gracious(DAY_MS)
    store.swap(setOf({ id: 'old', expiresAt }))
    assert.equal(verdict(store, 'old', NOW + DAY_MS - 1), 'old')
    assert.equal(verdict(store, 'old', NOW + DAY_MS), 'token_expired')
    use(store, 'old', NOW - 1)
    use(store, 'old', NOW)
    const [status] = store.statuses(NOW)
    assert.equal(status?.state, 'expired')
    assert.equal(status?.isAccepted, true)
    assert.equal(status?.account.graceUses, 1)
    assert.deepEqual(told, [
      {
        id: 'old',
        holder: 'holder of old',
        address: '203.0.113.7',
        expiredAtMs: NOW,
        untilMs: NOW + DAY_MS,
      },
    ])
  })

  it('tells of a token once an hour', () => {
    const { store, told } = gracious(DAY_MS)
    store.swap(setOf({ id: 'old', expiresAt }, { id: 'other', expiresAt }))
    for (let minute = 0; minute < 61; minute += 1) use(store, 'old', NOW + minute * 60_000)
    use(store, 'other', NOW)
    assert.deepEqual(
      told.map(({ id }) => id),
      ['old', 'old', 'other'],
    )
  })

  it('ends when the holder is seen with a newer token, and not with an older one', () => {
    const { store } = gracious(DAY_MS)
    store.swap(
      setOf(
        { id: 'older', holder: 'h' },
        { id: 'old', holder: 'h', expiresAt },
        { id: 'new', holder: 'h' },
        { id: 'theirs' },
      ),
    )
    use(store, 'older', NOW)
    use(store, 'theirs', NOW)
    assert.equal(verdict(store, 'old', NOW), 'old')
    use(store, 'new', NOW)
    assert.equal(verdict(store, 'old', NOW), 'token_expired')
  })

  it('goes by createdAt before the order of the set, and by replacedBy before both', () => {
    const { store } = gracious(DAY_MS)
    store.swap(
      setOf(
        { id: 'new', holder: 'h', createdAt: '2026-05-01' },
        { id: 'old', holder: 'h', createdAt: '2026-01-01', expiresAt },
        { id: 'next', holder: 'i', createdAt: '2026-01-01' },
        { id: 'late', holder: 'i', createdAt: '2026-05-01', expiresAt, replacedBy: 'next' },
      ),
    )
    use(store, 'new', NOW)
    use(store, 'next', NOW)
    assert.equal(verdict(store, 'old', NOW), 'token_expired')
    assert.equal(verdict(store, 'late', NOW), 'token_expired')
  })

  it('is not for the revoked', () => {
    const { store } = gracious(DAY_MS)
    store.swap(setOf({ id: 'old', expiresAt, revokedAt: expiresAt }))
    assert.equal(verdict(store, 'old', NOW), 'token_expired')
  })

  it('remembers over a swap and a restart who has been seen with a newer token', () => {
    const set = setOf({ id: 'old', holder: 'h', expiresAt }, { id: 'new', holder: 'h' })
    const { store } = gracious(DAY_MS)
    store.swap(set)
    use(store, 'new', NOW)
    store.swap(set)
    assert.equal(verdict(store, 'old', NOW), 'token_expired')
    for (const isSetFirst of [true, false]) {
      const next = gracious(DAY_MS).store
      if (isSetFirst) next.swap(set)
      next.restore(store.accounts(NOW))
      if (!isSetFirst) next.swap(set)
      assert.equal(verdict(next, 'old', NOW), 'token_expired')
    }
  })
})

describe('the story of a refused token', () => {
  const at = (text: string) => new Date(text).toISOString()
  const story = (...tokens: Parameters<typeof setOf>) => {
    const { store } = gracious(0)
    store.swap(setOf(...tokens))
    if (tokens.some(({ id }) => id === 'new')) store.used(tokenOf(store, 'new'), arrival(), NOW - 5)
    assert.equal(store.verify(bearer('old'), peer, NOW), 'token_expired')
    const refused = arrival({ authorization: bearer('old') })
    const token = store.ended(refused, ending({ outcome: 'token_expired' }), NOW)
    assert.equal(token?.id, 'old')
    return {
      told: token && store.storyOf(token, NOW),
      detail: store.detailOf(bearer('old'), NOW),
    }
  }

  it('says since when, and what the holder has instead: ids to the log, dates to the client', () => {
    const old = { id: 'old', holder: 'h', retiringAt: '2026-05-01', expiresAt: '2026-05-31' }
    const { told, detail } = story(old, { id: 'new', holder: 'h' })
    assert.equal(
      told,
      `token old was retired on ${at('2026-05-01')} and expired on ${at('2026-05-31')}; its holder's newer token new is in use since ${new Date(NOW - 5).toISOString()}`,
    )
    assert.equal(detail, `it expired on ${at('2026-05-31')}`)
  })

  it('says where the newer one was never used, or where there is none', () => {
    const old = { id: 'old', holder: 'h', revokedAt: '2026-05-31' }
    const { told, detail } = story(old, { id: 'next', holder: 'h' })
    const since = `token old was revoked on ${at('2026-05-31')}; its holder`
    assert.equal(told, `${since}'s newer token next has never been used`)
    assert.equal(detail, `it was revoked on ${at('2026-05-31')}`)
    assert.equal(story(old, { id: 'new' }).told, `${since} has no newer token`)
  })

  it('has nothing to say of strangers, or of a token that is accepted', () => {
    const { store } = gracious(0)
    store.swap(setOf({ id: 'a' }, { id: 'future', notBefore: '2027-01-01' }))
    assert.equal(store.verify(bearer('stranger'), peer, NOW), 'token_unknown')
    assert.equal(store.detailOf(bearer('stranger'), NOW), undefined)
    assert.equal(store.detailOf(undefined, NOW), undefined)
    assert.equal(store.storyOf(tokenOf(store, 'a'), NOW), undefined)
    assert.equal(store.detailOf(bearer('a'), NOW), undefined)
    assert.equal(store.verify(bearer('future'), peer, NOW), 'token_not_yet_valid')
    assert.equal(store.detailOf(bearer('future'), NOW), 'it is valid from 2027-01-01T00:00:00.000Z')
  })
})
