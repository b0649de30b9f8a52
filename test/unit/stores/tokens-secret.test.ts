import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  createToken,
  digestOf,
  idFromToken,
  looksLikeTollgateToken,
  verifyChecksum,
  withoutTokens,
} from '../../../src/stores/token-secret.ts'

describe('tokens made by Tollgate', () => {
  it('are written tg_<id>_<secret><checksum>, in letters that travel everywhere', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 40, maxLength: 40 }), (bytes) => {
        const { id, token } = createToken(bytes)
        assert.match(token, /^tg_[a-z2-9]{8}_[A-Za-z0-9]{43}[A-Za-z0-9]{6}$/)
        assert.equal(token.length, 61)
        assert.ok(looksLikeTollgateToken(token))
        assert.ok(verifyChecksum(token))
        assert.equal(idFromToken(token), id)
        assert.equal(token.split('_')[1], id)
      }),
    )
  })

  it('keep their form: a fixed secret gives a fixed token', () => {
    // The checksum was computed with another program (crc32 of Python's zlib).
    const { id, token } = createToken(new Uint8Array(40).fill(255))
    assert.equal(id, '99999999')
    assert.equal(token, 'tg_99999999_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp12XkrnW')
  })

  it('use all of the secret: different bytes give different tokens', () => {
    const bytes = fc.uint8Array({ minLength: 40, maxLength: 40 })
    fc.assert(
      fc.property(bytes, fc.nat(31), fc.integer({ min: 1, max: 255 }), (one, at, change) => {
        const other = Uint8Array.from(one, (byte, index) => (index === at ? byte ^ change : byte))
        assert.notEqual(createToken(one).token, createToken(other).token)
      }),
    )
  })

  it('are random', () => {
    assert.equal(new Set(Array.from({ length: 1000 }, () => createToken().token)).size, 1000)
  })

  it('show a letter mistyped, swapped or lost', () => {
    const { token } = createToken()
    fc.assert(
      fc.property(
        fc.integer({ min: 3, max: 60 }),
        fc.constantFrom(...'abcXYZ019'),
        (at, letter) => {
          const mistyped = token.slice(0, at) + letter + token.slice(at + 1)
          assert.equal(verifyChecksum(mistyped), mistyped === token)
          assert.ok(!verifyChecksum(token.slice(0, at) + token.slice(at + 1)))
          const swapped = token.slice(0, at - 1) + token[at] + token[at - 1] + token.slice(at + 1)
          assert.equal(verifyChecksum(swapped), swapped === token)
        },
      ),
    )
    assert.ok(!looksLikeTollgateToken('tg_short'))
    assert.equal(idFromToken('correct-horse-battery-staple'), undefined)
  })

  it('are taken out of text, even when mistyped', () => {
    const { token } = createToken()
    assert.equal(withoutTokens(`see ${token}.`), 'see tg_….')
    assert.equal(withoutTokens(`see ${token.slice(0, 40)}.`), 'see tg_….')
    assert.equal(withoutTokens('tg_metrics stay'), 'tg_metrics stay')
  })

  it('are kept as SHA-256 (FIPS 180-4, "abc")', () => {
    assert.equal(
      digestOf('abc'),
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    )
  })
})
