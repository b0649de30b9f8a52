/** docs/operations.md says of limits what the compose files say. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { ROOT } from './support/tools.ts'

interface Compose {
  readonly services: Readonly<Record<string, { mem_limit?: string; cpus?: number }>>
}

async function limitsIn(name: string) {
  const text = await readFile(join(ROOT, 'docker', name), 'utf8')
  const { services } = parse(text, { merge: true }) as Compose
  return services
}

test('memory and CPU of each service for servers of 2 GB and 1 GB', async () => {
  const [large, small] = await Promise.all(['compose.yml', 'compose.small.yml'].map(limitsIn))
  assert.ok(large !== undefined && small !== undefined)
  const page = await readFile(join(ROOT, 'docs/operations.md'), 'utf8')
  const rows = [...page.matchAll(/^\| `([\w-]+)` \| (\d+m) \| (\d+m) \| ([\d.]+) \|$/gm)]
  const shown = rows.map(([, ...cells]) => cells)
  const expected = Object.entries(large).map(([name, { mem_limit, cpus }]) => [
    ...[name, mem_limit, small[name]?.mem_limit ?? mem_limit, String(cpus)],
  ])
  assert.deepEqual(shown.toSorted(), expected.toSorted())
})
