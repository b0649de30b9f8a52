/** The measurement behind the table in docs/operations.md runs, and every program of it takes part. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runToEnd } from '../support/child.ts'
import { hasTools, ROOT } from '../support/tools.ts'

test('npm run stack measures every process, and nothing is refused meanwhile', async (t) => {
  const exporters = ['prometheus-node-exporter', 'prometheus-blackbox-exporter'] as const
  if (!hasTools(t, 'otelcol', 'prometheus-3', 'alertmanager', ...exporters)) return
  const { code, stdout, stderr } = await runToEnd(
    process.execPath,
    ['bench/stack.ts', '--seconds', '25', '--agents', '2', '--entry', 'src/main.ts'],
    { cwd: ROOT, timeoutMs: 90_000 },
  )
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^2 agents, 25 s: [\d.]+ requests a second accepted, 0 not;$/m)
  for (const name of [
    'collector',
    'gateway',
    'Prometheus',
    'Alertmanager',
    ...['node', 'blackbox'],
  ])
    assert.match(stdout, new RegExp(`^\\| ${name}[a-z ]* \\| [1-9]\\d* MiB \\|`, 'm'), stdout)
})
