import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseEnv } from 'node:util'
import fc from 'fast-check'
import {
  currentValue,
  isVariableName,
  readDotenv,
  setVariable,
} from '../../../src/secrets/dotenv.ts'

/** As Dokploy writes them. */
const REFERENCE = `\${{project.A}}`

const set = (text: string, name = 'TOKEN', value = 'new') => setVariable(text, name, () => value)

describe('setVariable', () => {
  const cases: readonly (readonly [title: string, before: string, after: string])[] = [
    ['replaces a plain value', 'A=1\nTOKEN=old\nB=2\n', 'A=1\nTOKEN=new\nB=2\n'],
    ['adds a line at the end', 'A=1\n', 'A=1\nTOKEN=new\n'],
    ['ends the last line before it adds one', 'A=1', 'A=1\nTOKEN=new\n'],
    ['begins an empty text', '', 'TOKEN=new\n'],
    ['keeps the quotes', 'TOKEN="old"\nA=\'b\'\n', 'TOKEN="new"\nA=\'b\'\n'],
    ['keeps a comment behind the value', 'TOKEN=old # mine\n', 'TOKEN=new # mine\n'],
    ['keeps a comment behind quotes', "TOKEN='old' # mine", "TOKEN='new' # mine"],
    ['keeps blanks around', '  TOKEN = old  \n', '  TOKEN = new  \n'],
    ['keeps export', 'export TOKEN=old\n', 'export TOKEN=new\n'],
    ['takes a colon', 'TOKEN: old\n', 'TOKEN: new\n'],
    ['keeps CRLF', 'A=1\r\nTOKEN=old\r\nB=2\r\n', 'A=1\r\nTOKEN=new\r\nB=2\r\n'],
    ['adds with CRLF where lines end so', 'A=1\r\n', 'A=1\r\nTOKEN=new\r\n'],
    ['fills an empty value', 'TOKEN=\nB=2\n', 'TOKEN=new\nB=2\n'],
    ['does not touch a comment', '# TOKEN=old\n', '# TOKEN=old\nTOKEN=new\n'],
    [
      'does not touch a longer name',
      'MY_TOKEN=a\nTOKEN_2=b\n',
      'MY_TOKEN=a\nTOKEN_2=b\nTOKEN=new\n',
    ],
    [
      'does not touch what is inside another value',
      'PEM="a\nTOKEN=inside\nb"\nTOKEN=old\n',
      'PEM="a\nTOKEN=inside\nb"\nTOKEN=new\n',
    ],
    ['replaces a value over several lines', 'TOKEN="a\nb"\nB=2\n', 'TOKEN="new"\nB=2\n'],
    ['passes an escaped quote', 'A="x\\"\nTOKEN=in"\nTOKEN=old', 'A="x\\"\nTOKEN=in"\nTOKEN=new'],
    [
      'ends at an escaped quote where it is the last',
      'D="C:\\d\\"\nTOKEN=old',
      'D="C:\\d\\"\nTOKEN=new',
    ],
    ['finds quotes on the next line', 'A=\n"\nTOKEN=in"\nTOKEN=old', 'A=\n"\nTOKEN=in"\nTOKEN=new'],
    ['takes a quote that does not end for a letter', 'TOKEN="old\nB=2\n', 'TOKEN=new\nB=2\n'],
    ['leaves nothing of an old value with a #', 'TOKEN=old#rest\n', 'TOKEN=new\n'],
    ['keeps a comment where the value was', 'TOKEN= # none yet\n', 'TOKEN=new # none yet\n'],
    ['takes a # without a blank for the old value', 'TOKEN=#old\n', 'TOKEN=new\n'],
    ['keeps references', `A=${REFERENCE}\nTOKEN=old\n`, `A=${REFERENCE}\nTOKEN=new\n`],
  ]
  for (const [title, before, after] of cases) {
    it(title, () => assert.equal(set(before).text, after))
  }

  it('changes the last of several lines, which is the one that counts, and tells how many', () => {
    assert.deepEqual(set('TOKEN=a\nTOKEN=b\n'), { text: 'TOKEN=a\nTOKEN=new\n', count: 2 })
    assert.equal(set('A=1').count, 0)
  })

  it('gives the value from before', () => {
    const { text } = setVariable("TOKEN='a b' # c", 'TOKEN', (value) => `${value?.length}`)
    assert.equal(text, "TOKEN='3' # c")
  })

  it('changes that variable alone, whatever else the text holds', () => {
    const line = fc.oneof(
      fc.constantFrom('', '# a comment', 'A=1', "B='x'", 'C="y z"', 'TOKEN=old', 'TOKEN="o"'),
      fc.constantFrom('M="1\n2"', 'export E=5', `R=${REFERENCE}`, 'Q=`a"b`', 'F = a b # c', 'junk'),
    )
    fc.assert(
      fc.property(fc.array(line), fc.constantFrom('\n', '\r\n'), (lines, eol) => {
        const before = lines.join(eol)
        const after = set(before).text
        const others = (text: string) => readDotenv(text).filter(({ name }) => name !== 'TOKEN')
        const bare = (text: string) => others(text).map(({ name, value }) => [name, value])
        assert.deepEqual(bare(after), bare(before))
        assert.equal(currentValue(after, 'TOKEN'), 'new')
        assert.equal(set(after).text, after)
        // Another reader of the same format: the one that Node has built in.
        assert.deepEqual(parseEnv(after), { ...parseEnv(before), TOKEN: 'new' })
      }),
    )
  })
})

describe('isVariableName', () => {
  it('knows what a shell takes for a name', () => {
    for (const name of ['TOKEN', '_a1']) assert.equal(isVariableName(name), true)
    for (const name of ['', '1A', 'A-B', 'A B', 'A=B']) assert.equal(isVariableName(name), false)
  })
})
