import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { textWith, valueWith } from '../../../src/secrets/token-value.ts'

const HEADERS = 'OTEL_EXPORTER_OTLP_HEADERS'

describe('valueWith', () => {
  it('is the token alone for any variable', () => {
    assert.equal(valueWith('tg_new', 'TOKEN', undefined), 'tg_new')
    assert.equal(valueWith('tg_new', 'TOKEN', 'tg_old'), 'tg_new')
  })

  const cases: readonly (readonly [before: string | undefined, after: string])[] = [
    [undefined, 'Authorization=Bearer%20tg_new'],
    ['', 'Authorization=Bearer%20tg_new'],
    ['Authorization=Bearer%20tg_old', 'Authorization=Bearer%20tg_new'],
    ['authorization=Bearer tg_old', 'Authorization=Bearer%20tg_new'],
    ['x-tenant=a', 'x-tenant=a,Authorization=Bearer%20tg_new'],
    ['x-tenant=a,', 'x-tenant=a,Authorization=Bearer%20tg_new'],
    ['a=1, authorization = x,b=2', 'a=1,Authorization=Bearer%20tg_new,b=2'],
    ['x-authorization=a', 'x-authorization=a,Authorization=Bearer%20tg_new'],
    [`a=\${{project.A}}`, `a=\${{project.A}},Authorization=Bearer%20tg_new`],
  ]
  for (const [before, after] of cases) {
    it(`makes ${before} of headers ${after}`, () => {
      assert.equal(valueWith('tg_new', HEADERS, before), after)
      assert.equal(valueWith('tg_new', HEADERS, after), after)
    })
  }

  it('percent-encodes what exporters decode', () => {
    assert.equal(valueWith('a+b/c==', HEADERS, undefined), 'Authorization=Bearer%20a%2Bb%2Fc%3D%3D')
  })

  it('does not replace what points elsewhere', () => {
    const problem = { message: /^its value is a reference/, advice: /deliver to where/ }
    assert.throws(() => valueWith('tg_new', 'TOKEN', `\${{project.TOKEN}}`), problem)
    const header = `authorization=Bearer%20\${{project.TOKEN}}`
    assert.throws(() => valueWith('tg_new', HEADERS, header), problem)
  })

  it('refuses a token that would not come out as it went in, and does not show it', () => {
    for (const token of ['a b', 'a#b', 'a"b', 'a$b', 'a\nb', "a'b", 'a\\b', 'a`b']) {
      assert.throws(
        () => valueWith(token, 'TOKEN', undefined),
        (error) => error instanceof Error && !error.message.includes(token),
      )
    }
  })
})

describe('textWith', () => {
  it('refuses a text in which the variable would not come out', () => {
    assert.throws(() => textWith('tg_new', 'TOKEN', 'TOKEN:'), {
      message: 'the lines around TOKEN are not what an environment file holds',
    })
  })
})
