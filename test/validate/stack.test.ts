/** `npm run validate -- --stack` against the compose stack, by somebody on the other side of its cable. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Row } from '../../docker/validate/row.ts'
import { runToEnd } from '../support/child.ts'
import { addOutsider, SERVER } from '../support/outsider.ts'
import { hasStack, startStack } from '../support/stack.ts'
import { ROOT } from '../support/tools.ts'

const AGENT = '203.0.113.109'
const HASTY = '203.0.113.110'

test('the stack as it is shipped passes the validation', { timeout: 900_000 }, async (t) => {
  if (!hasStack(t, 'nmap', 'siege', 'ghz', 'openssl', 'ip')) return
  const stack = await startStack(t)
  const outsider = await addOutsider(t, stack.engine)
  for (const address of [AGENT, HASTY])
    await outsider.run('ip', 'address', 'add', `${address}/24`, 'dev', 'eth0')
  const { folder } = stack.engine
  const ca = join(folder, 'validate-ca.pem')
  const token = join(folder, 'validate-token')
  await writeFile(ca, stack.caPem)
  await writeFile(token, stack.token, { mode: 0o600 })

  const [program, args] = outsider.inside(
    process.execPath,
    ...['--disable-warning=ExperimentalWarning', join(ROOT, 'docker/validate/main.ts')],
    ...['--stack', '--compose', join(folder, 'docker'), '--host', 'localhost', '--json'],
    ...['--connect', SERVER.ipv4, '--connect', SERVER.ipv6, '--ca', ca, '--token-file', token],
    ...['--agent-address', AGENT, '--hasty-address', HASTY, '--all-ports'],
    // The gateway's handshake is the same as that of bare processes, which it has looked at.
    ...['--skip', 'testssl'],
  )
  const { env } = stack.engine
  const { code, signal, stdout, stderr } = await runToEnd(program, args, {
    env,
    timeoutMs: 600_000,
  })
  assert.ok(stdout.startsWith('{'), `ended with ${code ?? signal}: ${stdout}${stderr}`)
  const { rows } = JSON.parse(stdout) as { readonly rows: readonly Row[] }
  for (const { status, check, expected, figure } of rows)
    t.diagnostic(`${status} ${check}: ${expected}: ${figure}`)
  assert.deepEqual(
    rows.filter(({ check, status }) => status === 'fail' && check !== 'load'),
    [],
  )
  assert.deepEqual(
    rows.filter(({ status }) => status === 'skip').map(({ check, expected }) => [check, expected]),
    [
      // An address may make 100 requests a second, and the collector is out of reach.
      ['load', '1000 requests/s'],
      ['load', 'what the gateway adds'],
      ['accounts', 'it says that it is ready'],
      ['accounts', 'every request that came is accounted for'],
    ],
  )
  const [points] = rows.filter(({ check }) => check === 'load')
  assert.match(
    points?.figure ?? '',
    /^p95 [\d.]+ ms at \d+ requests\/s$/,
    'latency is not judged here',
  )
  for (const check of ['ports', 'rate', 'brute force', 'arrival', 'resources', 'backup'])
    assert.ok(
      rows.some((row) => row.check === check && row.status === 'pass'),
      check,
    )
})
