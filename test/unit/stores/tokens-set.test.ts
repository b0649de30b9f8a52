import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { SIGNALS } from '../../../src/otlp/signal.ts'
import { parseTokenList } from '../../../src/stores/token-list.ts'
import { createToken, digestOf } from '../../../src/stores/token-secret.ts'
import { joinTokenSets, parseTokenSet, TokenSetError } from '../../../src/stores/token-set.ts'

const digest = (text: string) => digestOf(text)
const entry = (more: object = {}) => ({ id: 'a', holder: 'agent', sha256: digest('a'), ...more })
const parse = (...tokens: unknown[]) => parseTokenSet(JSON.stringify({ tokens }), 'tokens.json')

/** The problems of a text, or a failure where it has none. */
function problemsOf(act: () => unknown): readonly string[] {
  try {
    act()
  } catch (error) {
    assert.ok(error instanceof TokenSetError, String(error))
    for (const problem of error.problems) assert.ok(error.message.includes(problem))
    return error.problems
  }
  assert.fail('no problem was found')
}

describe('parseTokenSet', () => {
  it('reads every field', () => {
    const [record] = parse(
      entry({
        sha256: digest('a').toUpperCase(),
        notBefore: '2026-01-01',
        expiresAt: '2027-01-31T01:00:00+01:00',
        revokedAt: '2026-12-31T23:59:59.500Z',
        createdAt: '2026-01-01T00:00Z',
        retiringAt: '2026-12-01',
        replacedBy: 'b',
        scopes: ['metrics', 'traces'],
        allowFrom: ['203.0.113.7', '10.0.0.0/8', '2001:db8::/32', '::ffff:192.0.2.0/120'],
        limits: { rate: '300/m', burst: 7, bytes: '10MiB/s', inFlight: 20 },
        labels: { team: 'web' },
      }),
    ).records
    assert.deepEqual(record, {
      id: 'a',
      holder: 'agent',
      sha256: digest('a'),
      notBeforeMs: Date.UTC(2026, 0, 1),
      expiresAtMs: Date.UTC(2027, 0, 31),
      revokedAtMs: Date.UTC(2026, 11, 31, 23, 59, 59, 500),
      createdAtMs: Date.UTC(2026, 0, 1),
      retiringAtMs: Date.UTC(2026, 11, 1),
      replacedBy: 'b',
      scopes: new Set(['traces', 'metrics']),
      allowFrom: [
        { address: '203.0.113.7', prefix: 32, family: 'ipv4' },
        { address: '10.0.0.0', prefix: 8, family: 'ipv4' },
        { address: '2001:db8::', prefix: 32, family: 'ipv6' },
        { address: '192.0.2.0', prefix: 24, family: 'ipv4' },
      ],
      limits: {
        requests: { perSecond: 5, burst: 7 },
        bytes: { perSecond: 10 * 2 ** 20, burst: 10 * 2 ** 20 },
        inFlight: 20,
      },
      labels: new Map([['team', 'web']]),
    })
  })

  it('leaves out what is not said, and takes "off" for a limit lifted', () => {
    assert.deepEqual(parse(entry()).records, [entry()])
    const [record] = parse(
      entry({ limits: { rate: 'off', bytes: 'off', inFlight: 'off' } }),
    ).records
    assert.deepEqual(record?.limits, { requests: 'off', bytes: 'off', inFlight: 'off' })
    assert.deepEqual(parse(entry({ limits: { rate: '1/h' } })).records[0]?.limits, {
      requests: { perSecond: 1 / 3600, burst: 1 },
    })
  })

  it('names every problem at once, each with its place', () => {
    const problems = problemsOf(() =>
      parse(
        entry(),
        entry({ sha256: digest('b'), id: 'b', holder: '' }),
        entry({ id: 'c', sha256: 'abc', expiresAt: 'tomorrow', colour: 'blue' }),
        'token',
        { holder: 'd' },
        entry({
          id: 'e',
          sha256: digest('e'),
          scopes: ['trace'],
          allowFrom: ['10.0.0.0/33', 'localhost'],
          limits: { rate: '50', burst: 0, bytes: '10MB', inFlight: 1.5, cpu: 1 },
        }),
      ),
    )
    const expected = [
      'tokens[1].holder: "" is not a holder;',
      'tokens[2]."colour": unknown field;',
      'tokens[2].expiresAt: "tomorrow" is not a date; expected ISO 8601, e.g. 2027-01-31T00:00:00Z',
      'tokens[2].sha256: this is not a digest; expected 64 hexadecimal digits',
      'tokens[3]: "token" is not a token;',
      'tokens[4].id: is missing;',
      'tokens[4].sha256: is missing;',
      'tokens[5].scopes: ["trace"] is not a list of signals; expected at least one of traces,',
      'tokens[5].allowFrom[0]: "10.0.0.0/33" is not an address or a CIDR;',
      'tokens[5].allowFrom[1]: "localhost" is not an address or a CIDR;',
      'tokens[5].limits."cpu": unknown field;',
      'tokens[5].limits.rate: "50" is not a rate;',
      'tokens[5].limits.burst: 0 is not a burst;',
      'tokens[5].limits.bytes: "10MB" is not a rate in bytes;',
      'tokens[5].limits.inFlight: 1.5 is not a number of calls at once;',
    ]
    assert.equal(problems.length, expected.length, problems.join('\n'))
    for (const [index, start] of expected.entries())
      assert.ok(problems[index]?.startsWith(start), `${problems[index]}\n  is not\n${start}`)
  })

  it('takes a token for the next one of another token only', () => {
    const problems = problemsOf(() =>
      parse(
        entry({ replacedBy: 'a' }),
        entry({ id: 'b', sha256: digest('b'), replacedBy: 'b c', retiringAt: 'soon' }),
      ),
    )
    assert.match(problems[0] ?? '', /^tokens\[0\]\.replacedBy: is the token itself; expected/)
    assert.match(problems[1] ?? '', /^tokens\[1\]\.replacedBy: "b c" is not an id; expected/)
    assert.match(problems[2] ?? '', /^tokens\[1\]\.retiringAt: "soon" is not a date; expected/)
    assert.equal(problems.length, 3)
  })

  it('finds ids and digests that come twice', () => {
    assert.deepEqual(
      problemsOf(() => parse(entry(), entry({ id: 'b' }), entry({ sha256: digest('c') }))),
      [
        'tokens[2].id: is the same as in tokens[0]',
        'tokens[1].sha256: is the same as in tokens[0]',
      ],
    )
  })

  it('does not take an empty set, text that is no set, or one that is too large', () => {
    const first = (text: string) => problemsOf(() => parseTokenSet(text, 'tokens.json'))[0]
    assert.match(first('') ?? '', /^is empty; expected/)
    assert.match(first(' \n') ?? '', /^is empty; expected/)
    assert.equal(first('{"tokens":[]}'), 'tokens: is empty; expected at least one token')
    assert.match(first('{}') ?? '', /^tokens: is missing/)
    assert.match(first('[]') ?? '', /^is an empty list; expected/)
    assert.match(first('{"tokens":{}}') ?? '', /^tokens: an object is not a list/)
    assert.equal(first('{"tokens":['), 'is not JSON: it ends too early')
    assert.equal(first('{\n  "tokens": nope}'), 'is not JSON: line 2, column 13')
    const many = JSON.stringify({ tokens: Array.from({ length: 100_001 }, () => 0) })
    assert.equal(first(many), 'tokens: 100001 of them; expected at most 100000')
    assert.equal(first(' '.repeat(64 * 2 ** 20 + 1)), 'is larger than 64 MiB')
  })

  it('reads a text that begins with a byte order mark', () => {
    const text = `\ufeff${JSON.stringify({ tokens: [entry()] })}`
    assert.equal(parseTokenSet(text, 'x').records.length, 1)
  })

  it('refuses dates that do not exist or mean a different moment elsewhere', () => {
    for (const date of [
      '2027-02-30',
      '2027-13-01',
      '2027-01-31T24:00:00Z',
      '2027-01-31T00:00:00',
      '2027-01-31 00:00:00Z',
      '1 Jan 2027',
      1_800_000_000,
      null,
    ])
      assert.match(
        problemsOf(() => parse(entry({ expiresAt: date })))[0] ?? '',
        /^tokens\[0\]\.expiresAt: .+ is not a date;/,
      )
  })

  it('refuses a token that would never be valid, a burst without a rate, an empty list', () => {
    const problems = problemsOf(() =>
      parse(
        entry({
          notBefore: '2027-01-01',
          expiresAt: '2027-01-01',
          limits: { burst: 5 },
          scopes: [],
          allowFrom: [],
        }),
      ),
    ).join('\n')
    assert.match(problems, /expiresAt: is not after notBefore/)
    assert.match(problems, /limits\.burst: has no rate beside it/)
    assert.match(problems, /scopes: an empty list is not/)
    assert.match(problems, /allowFrom: an empty list is not/)
  })

  it('lists a hundred problems and counts the rest', () => {
    const problems = problemsOf(() => parse(...Array.from({ length: 150 }, () => 'x')))
    assert.equal(problems.length, 101)
    assert.equal(problems.at(-1), 'and 50 more')
  })

  it('reads what was written (property)', () => {
    const date = fc.date({
      min: new Date('1990-01-01'),
      max: new Date('2199-12-31'),
      noInvalidDate: true,
    })
    const token = fc.record(
      {
        holder: fc.string({ minLength: 1, maxLength: 40 }).filter((text) => text.trim() === text),
        createdAt: date,
        revokedAt: date,
        expiresAt: date,
        scopes: fc.subarray([...SIGNALS], { minLength: 1 }),
        inFlight: fc.integer({ min: 1, max: 100_000 }),
        allowFrom: fc.array(fc.oneof(fc.ipV4(), fc.ipV6()), { minLength: 1, maxLength: 5 }),
      },
      { requiredKeys: ['holder'] },
    )
    fc.assert(
      fc.property(fc.array(token, { minLength: 1, maxLength: 20 }), (tokens) => {
        const written = tokens.map(({ inFlight, ...rest }, index) => ({
          ...rest,
          id: `t${index}`,
          sha256: digest(`t${index}`),
          ...(inFlight !== undefined && { limits: { inFlight } }),
        }))
        const { records } = parse(...written)
        assert.equal(records.length, written.length)
        for (const [index, record] of records.entries()) {
          const from = written[index]
          assert.equal(record.id, from?.id)
          assert.equal(record.holder, from?.holder)
          assert.equal(record.sha256, from?.sha256)
          assert.equal(record.createdAtMs, from?.createdAt?.getTime())
          assert.equal(record.revokedAtMs, from?.revokedAt?.getTime())
          assert.equal(record.expiresAtMs, from?.expiresAt?.getTime())
          assert.deepEqual(record.scopes, from?.scopes && new Set(from.scopes))
          assert.equal(record.limits?.inFlight, from?.limits?.inFlight)
          assert.equal(record.allowFrom?.length, from?.allowFrom?.length)
        }
      }),
    )
  })

  it('never shows a token that stands where it should not (property)', () => {
    const secret = fc
      .array(fc.constantFrom(...'ABCXYZabcxyz0189._~+/-'), { minLength: 16, maxLength: 80 })
      .map((letters) => letters.join(''))
      // Digits, dots and a slash are shown: they are a mistyped address.
      .filter((text) => /[A-Za-z]/.test(text))
    const place = fc.constantFrom<(token: string) => string>(
      (token) => JSON.stringify({ tokens: [{ id: token }] }),
      (token) => JSON.stringify({ tokens: [{ sha256: token, token }] }),
      (token) => JSON.stringify({ tokens: [{ [token]: 1, scopes: [token], allowFrom: [token] }] }),
      (token) => JSON.stringify({ tokens: [{ expiresAt: `Bearer ${token}`, labels: token }] }),
      (token) => JSON.stringify({ tokens: [{ limits: { rate: token, [token]: 1 } }] }),
      (token) => JSON.stringify({ [token]: token, tokens: token }),
      (token) => JSON.stringify(token),
      (token) => token,
      (token) => `{"tokens": [${token}]}`,
      (token) => `agent=${token},other=${token}`,
    )
    fc.assert(
      fc.property(secret, place, (token, put) => {
        const [set, list] = [parseTokenSet, parseTokenList].map((parser) => {
          try {
            parser(put(token), 'source')
            return ''
          } catch (error) {
            assert.ok(error instanceof TokenSetError)
            return `${error.message} ${error.stack} ${JSON.stringify(error)}`
          }
        })
        assert.ok(!set?.includes(token), set)
        assert.ok(!list?.includes(token), list)
      }),
      { numRuns: 500 },
    )
  })
})

describe('parseTokenList', () => {
  const token = 'correct-horse-battery-staple'

  it('reads holder=token, with ids that stay the same', () => {
    const made = createToken()
    const text = ` Web Shop=${token}, agent=${made.token},\nagent=abc.def~ghi+jkl/mno==`
    const { records, source } = parseTokenList(text)
    assert.equal(source, 'TOLLGATE_TOKENS')
    assert.deepEqual(records, [
      { id: `web-shop-${digest(token).slice(0, 8)}`, holder: 'Web Shop', sha256: digest(token) },
      { id: made.id, holder: 'agent', sha256: digest(made.token) },
      {
        id: `agent-${digest('abc.def~ghi+jkl/mno==').slice(0, 8)}`,
        holder: 'agent',
        sha256: digest('abc.def~ghi+jkl/mno=='),
      },
    ])
    assert.deepEqual(parseTokenList(text).records, records)
  })

  it('names what is wrong by its number', () => {
    const { token: made } = createToken()
    const mistyped = made.slice(0, -7) + (made.at(-7) === 'x' ? 'y' : 'x') + made.slice(-6)
    const problems = problemsOf(() =>
      parseTokenList(
        `${token},=${token},a=short,b=${token} x,c=${'x'.repeat(513)},d=${token},e=${token},f=Bearer ${token},g=${mistyped}`,
      ),
    )
    const expected = [
      /^entry 1: has no holder/,
      /^entry 2: has no holder/,
      /^entry 3: the token has 5 characters; expected at least 16/,
      /^entry 4: the token has a character that cannot travel in a header/,
      /^entry 5: the token has 513 characters; expected at most 512/,
      /^entry 7: is the same token as entry 6/,
      /^entry 8: begins with the word Bearer/,
      /^entry 9: the token was mistyped/,
    ]
    assert.equal(problems.length, expected.length, problems.join('\n'))
    for (const [index, pattern] of expected.entries()) assert.match(problems[index] ?? '', pattern)
  })

  it('does not take an empty list', () => {
    for (const text of ['', ' , '])
      assert.match(problemsOf(() => parseTokenList(text))[0] ?? '', /^is empty/)
  })
})

describe('joinTokenSets', () => {
  it('takes a token that is in both from the last set', () => {
    const list = parseTokenList('agent=correct-horse-battery-staple')
    const id = list.records[0]?.id
    const file = parse({ ...list.records[0], scopes: ['logs'] }, entry())
    const joined = joinTokenSets([list, file])
    assert.equal(joined.source, 'TOLLGATE_TOKENS and tokens.json')
    assert.deepEqual(joined.records.map((record) => record.id).sort(), ['a', id].sort())
    assert.deepEqual(joined.records.find((record) => record.id === id)?.scopes, new Set(['logs']))
  })

  it('refuses one id for two tokens', () => {
    assert.throws(() => joinTokenSets([parse(entry()), parse(entry({ sha256: digest('b') }))]), {
      name: 'TokenSetError',
    })
  })
})
