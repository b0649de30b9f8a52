/** The parent lives as long as the machine beside everything else: it loads nothing it does not need. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { test } from 'node:test'
import { ROOT } from '../../support/tools.ts'

/** What the process loads on its way to being the parent; `import()` is not followed. */
const WAY = [
  'main.ts',
  'commands/dispatch.ts',
  'commands/serve.ts',
  'commands/run-parent.ts',
  'parent/held-sockets.ts',
]

test('the parent loads the configuration, itself, and no package', () => {
  const seen = new Set<string>()
  const packages = new Set<string>()
  const follow = (file: string) => {
    if (seen.has(file)) return
    seen.add(file)
    const text = readFileSync(join(ROOT, 'src', file), 'utf8')
    for (const [, type, to = ''] of text.matchAll(
      /^(?:import|export)\s+(type\s)?[^'"]*?from '([^']+)'/gm,
    )) {
      if (type !== undefined) continue
      if (to.startsWith('.')) follow(posix.join(posix.dirname(file), to))
      else if (!to.startsWith('node:')) packages.add(to)
    }
  }
  for (const file of WAY) follow(file)
  assert.deepEqual([...packages], [])
  const parts = new Set([...seen].map((file) => (file.includes('/') ? file.split('/')[0] : file)))
  assert.deepEqual([...parts].sort(), ['commands', 'config', 'main.ts', 'parent'])
})
