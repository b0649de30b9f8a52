import assert from 'node:assert/strict'
import { test } from 'node:test'
import { causeWords, errorFields, foreign, redact } from '../../../src/observe/redact.ts'

const SECRET = 'tg_k7f3_0123456789abcdefghijklmnopqrstuvwxyz'

for (const [text, expected] of [
  [`bad header: Bearer ${SECRET}`, 'bad header: Bearer [redacted]'],
  ['authorization: bearer plain-secret.of=mine', 'authorization: bearer [redacted]'],
  ['proxy said Basic dXNlcjpwYXNz', 'proxy said Basic [redacted]'],
  [`value%20${SECRET}`, 'value%20tg_[redacted]'],
  [`{"a":"${SECRET}","b":1}`, '{"a":"tg_[redacted]","b":1}'],
  [`{"a":"Bearer ${SECRET}"}`, '{"a":"Bearer [redacted]"}'],
  ['send "Authorization: Bearer <token>"', 'send "Authorization: Bearer <token>"'],
  ['tg_ is the prefix', 'tg_ is the prefix'],
] as const)
  test(`redacts: ${text.slice(0, 40)}`, () => {
    assert.equal(redact(text), expected)
  })

test('foreign text stays on one line, short, and cannot steer a terminal', () => {
  assert.equal(foreign('a\r\n\u001b[31mred\u2028\u202edone'), 'a   [31mred  done')
  assert.equal(foreign('x'.repeat(5000)).length, 200)
})

test('an error shows its type, code, message, stack and causes, and none of its other properties', () => {
  const cause = Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:4317'), {
    code: 'ECONNREFUSED',
    headers: { authorization: SECRET },
  })
  const error = new TypeError('could not send', { cause })
  const fields = errorFields(error)
  assert.equal(fields.type, 'TypeError')
  assert.match(fields.stack, /could not send[\s\S]*caused by: Error: connect ECONNREFUSED/)
  assert.equal(JSON.stringify(fields).includes(SECRET), false)
  assert.equal(errorFields(cause).code, 'ECONNREFUSED')
  assert.equal(causeWords(error), 'could not send: connect ECONNREFUSED 10.0.0.1:4317')
})

test('an error that is its own cause comes to an end; what is not an error is shown as text', () => {
  const error = new Error('round')
  error.cause = error
  assert.equal(causeWords(error), 'round')
  assert.ok(errorFields(error).stack.length < 20_000)
  assert.equal(errorFields('just text').message, 'just text')
  assert.equal(causeWords(undefined), '')
})
