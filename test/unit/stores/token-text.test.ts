import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { digestOf } from '../../../src/stores/token-secret.ts'
import { parseTokenSet, TokenSetError } from '../../../src/stores/token-set.ts'
import { setTextFrom } from '../../../src/stores/token-text.ts'

const TOKEN = 'a-token-of-the-tests-0123456789abcdef'
const ENTRY = { id: 'a', holder: 'h', sha256: digestOf(TOKEN) }
const SET = JSON.stringify({ tokens: [ENTRY] })

const read = (text: string, acceptedUntilMs?: number) =>
  setTextFrom(text, 'vault:secret/otel', 'secret/otel', acceptedUntilMs)

const recordsOf = (text: string, acceptedUntilMs?: number) =>
  parseTokenSet(read(text, acceptedUntilMs).text, 'test').records

describe('the text of a secret', () => {
  for (const [name, text] of [
    ['a set', SET],
    ['a set with a byte order mark and spaces', `\ufeff ${SET}\n`],
    ['a set whose list is a text, as from a file of a set', JSON.stringify({ tokens: SET })],
    ['a set whose list is a text', JSON.stringify({ tokens: JSON.stringify([ENTRY]) })],
  ] as const)
    it(`may be ${name}`, () => {
      assert.equal(read(text).isSet, true)
      assert.deepEqual(recordsOf(text), [ENTRY])
    })

  for (const [name, text] of [
    ['a token', TOKEN],
    ['a token and a newline', `${TOKEN}\n`],
    ['a token in a field', JSON.stringify({ token: TOKEN, other: 1 })],
  ] as const)
    it(`may be ${name}, and its digest is all that is kept`, () => {
      const { text: made, isSet } = read(text)
      assert.equal(isSet, false)
      assert.ok(!made.includes(TOKEN))
      const id = `secret-otel-${digestOf(TOKEN).slice(0, 8)}`
      assert.deepEqual(recordsOf(text), [{ id, holder: 'secret/otel', sha256: digestOf(TOKEN) }])
    })

  it('of a token ends with it where that is told', () => {
    const untilMs = Date.UTC(2027, 0, 31)
    assert.equal(recordsOf(TOKEN, untilMs)[0]?.expiresAtMs, untilMs)
    assert.equal(recordsOf(SET, untilMs)[0]?.expiresAtMs, undefined)
  })

  it('takes a holder that is too long, or none', () => {
    const long = setTextFrom(TOKEN, 'aws:x', 'x'.repeat(500)).text
    assert.equal(parseTokenSet(long, 'test').records[0]?.holder.length, 128)
    const none = setTextFrom(TOKEN, 'aws:x', '\u0000').text
    assert.equal(parseTokenSet(none, 'test').records[0]?.holder, 'secret')
  })

  for (const [name, text, words] of [
    ['nothing', ' \n', /is empty; expected a token set or a token/],
    ['half a set', SET.slice(0, 30), /is not JSON: it ends too early/],
    ['no token', '{"user":"me"}', /has neither "tokens" nor "token"/],
    ['a list', '[]', /an empty list; expected/],
    ['a token too short', 'short', /has 5 characters/],
    ['a token too short in a field', '{"token":"short"}', /has 5 characters/],
    ['a header', `Bearer ${TOKEN}`, /begins with the word Bearer/],
    ['two lines', `${TOKEN}\n${TOKEN}`, /a character that cannot travel/],
    ['half a list in a text', '{"tokens":"[{"}', /is not JSON/],
    ['tokens that are no list', '{"tokens":7}', /7 is not a list/],
  ] as const)
    it(`is refused in words: ${name}`, () => {
      assert.throws(
        () => recordsOf(text),
        (error) => {
          assert.ok(error instanceof TokenSetError)
          assert.match(error.message, words)
          assert.ok(!error.message.includes(TOKEN))
          return true
        },
      )
    })
})
