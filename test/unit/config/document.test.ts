import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { configurationPage, optionsHelp } from '../../../src/config/document.ts'
import { flagOf } from '../../../src/config/option.ts'
import { OPTIONS } from '../../../src/config/options.ts'

test('docs/configuration.md is what the table says', () => {
  const page = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8')
  assert.equal(page, configurationPage(), 'stale: run node src/config/write-document.ts')
})

test('page and help have every option once', () => {
  const page = configurationPage()
  const help = optionsHelp()
  for (const { env } of Object.values(OPTIONS)) {
    assert.equal(page.split(`\n| \`${env}\` |`).length, 2, env)
    assert.equal(help.split(`\n  ${flagOf(env)} `).length, 2, env)
  }
})

test('the help fits a terminal', () => {
  for (const line of optionsHelp().split('\n')) assert.ok(line.length <= 100, line)
})
