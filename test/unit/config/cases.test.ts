import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parseEnv } from 'node:util'
import { parseConfig } from '../../../src/config/config.ts'
import { ConfigError } from '../../../src/config/config-error.ts'

/** Each file is an environment with a mistake; its comments are the message. */
const CASES = new URL('../../cases/config/', import.meta.url)
const EXPECTED = /^# expected: (.*)$/gm

for (const file of readdirSync(CASES)) {
  test(`mistake: ${file.replace('.env', '').replaceAll('-', ' ')}`, () => {
    const text = readFileSync(new URL(file, CASES), 'utf8')
    const expected = Array.from(text.matchAll(EXPECTED), ([, message]) => message)
    assert.notEqual(expected.length, 0, 'the case names no message')
    assert.throws(
      () => parseConfig(parseEnv(text), [], { cwd: '/nowhere' }),
      (error) => {
        assert.ok(error instanceof ConfigError)
        assert.deepEqual(
          error.mistakes.map(({ message }) => message),
          expected,
        )
        return true
      },
    )
  })
}
