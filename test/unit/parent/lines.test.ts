/** The parent writes its lines by hand: here they are held against those of the log. */
import assert from 'node:assert/strict'
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createLog } from '../../../src/observe/log.ts'
import { createSay, type Severity } from '../../../src/parent/lines.ts'

const SEVERITIES: readonly Severity[] = ['info', 'warn', 'error']

for (const format of ['json', 'text'] as const) {
  for (const hasColour of [false, true]) {
    test(`${format}, ${hasColour ? 'with' : 'without'} colours: as the log has it`, (t) => {
      t.mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 10, 22, 20, 54, 2, 117) })
      const folder = mkdtempSync(join(tmpdir(), 'tollgate-lines-'))
      t.after(() => rmSync(folder, { recursive: true }))
      const path = join(folder, 'log')
      const log = createLog({ level: 'info', format, fd: openSync(path, 'w'), hasColour })
      let said = ''
      const say = createSay({
        least: 'info',
        format,
        hasColour,
        wallMs: () => Date.now(),
        write: (line) => (said += line),
      })
      for (const severity of SEVERITIES) {
        log[severity]('parent', 'Some words', { child: 7, signal: 'SIGKILL' })
        say(severity, 'parent', 'Some words', { child: 7, signal: 'SIGKILL' })
        log[severity]('restart', 'No fields')
        say(severity, 'restart', 'No fields')
      }
      assert.equal(said, readFileSync(path, 'utf8'))
    })
  }
}

test('what is less important than asked for is left out', () => {
  for (const [least, expected] of [
    ['info', 3],
    ['warn', 2],
    ['error', 1],
    [undefined, 0],
  ] as const) {
    let lines = 0
    const options = { least, format: 'json', hasColour: false, wallMs: () => 0 } as const
    const say = createSay({ ...options, write: () => (lines += 1) })
    for (const severity of SEVERITIES) say(severity, 'parent', 'words')
    assert.equal(lines, expected, String(least))
  }
})
