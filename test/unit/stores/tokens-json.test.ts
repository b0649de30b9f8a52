import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { flawPosition } from '../../../src/stores/token-json.ts'

/** What V8 makes of a text. */
function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

describe('flawPosition', () => {
  const cases: readonly (readonly [string, string, number, number])[] = [
    ['a comma too many', '{"tokens": [\n  {"id": "a"},\n]}', 3, 1],
    ['a comma too few', '{"tokens": [\n  {"id": "a"}\n  {"id": "b"}]}', 3, 3],
    ['a word without quotes', '{\n  "tokens": nope}', 2, 13],
    ['single quotes', "{'tokens': []}", 1, 2],
    ['a comment', '{"tokens": [] // none\n}', 1, 15],
    ['the wrong bracket', '{"tokens": [}', 1, 13],
    ['a value instead of a name', '{1: 2}', 1, 2],
    ['no colon', '{"tokens" []}', 1, 11],
    ['something behind the end', '{"tokens": []}\n]', 2, 1],
    ['a line break in a string', '{"tok\nens": []}', 1, 2],
    ['a bad escape', '["\\x"]', 1, 2],
    ['a number that is none', '[01]', 1, 3],
  ]
  for (const [name, text, line, column] of cases)
    it(`finds ${name}`, () => {
      assert.ok(!isJson(text))
      assert.deepEqual(flawPosition(text), { line, column })
    })

  it('has no place to show where the text only ends too early', () => {
    for (const text of ['{', '[1,', '{"a"', '{"a":', '{"a": [1, 2]\n', '[true'])
      assert.equal(flawPosition(text), undefined, text)
  })

  it('never stops in the middle of what V8 takes (property)', () => {
    fc.assert(
      fc.property(fc.json(), fc.nat(), (json, cut) => {
        // A whole document is right to its end, and so is every beginning that ends between tokens.
        assert.equal(flawPosition(json), undefined)
        // What stands before the flaw can be ended, whatever was put there.
        const at = cut % (json.length + 1)
        const broken = `${json.slice(0, at)}\u0001${json.slice(at)}`
        const position = flawPosition(broken)
        assert.ok(!isJson(broken))
        assert.ok(position === undefined || position.column - 1 <= at)
      }),
    )
  })
})
