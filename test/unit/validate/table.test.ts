/** The table, the exit code, and what each process uses. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgeReady } from '../../../docker/validate/checks/accounts.ts'
import { judgeUsage } from '../../../docker/validate/checks/resources.ts'
import { commandLine } from '../../../docker/validate/programs.ts'
import { exitCodeOf, judged, type Row, skipped } from '../../../docker/validate/row.ts'
import { bytesOf, usageIn } from '../../../docker/validate/stack.ts'
import { jsonOf, tableOf } from '../../../docker/validate/table.ts'

const MIB = 1024 * 1024
const good = judged('brute force', 'is banned', true, 'after 5', 'siege -c 2')
const bad = judged('brute force', 'is banned', false, 'never', 'siege -c 2')
const open = skipped('load', 'is fast', 'ghz is not installed (go install …)')

test('a failed row says how to see it by hand and where to read on', () => {
  assert.equal(
    tableOf([good, bad, open], false),
    [
      'PASS  brute force  is banned  after 5',
      'FAIL  brute force  is banned  never',
      '      by hand: siege -c 2',
      '      what to do: docs/validate.md#brute-force',
      'SKIP  load         is fast    ghz is not installed (go install …)',
      '',
      '1 passed, 1 failed, 1 skipped',
    ].join('\n'),
  )
})

test('with --commands every row has its command', () => {
  assert.match(tableOf([good], true), /PASS .*\n {6}by hand: siege -c 2\n/)
})

test('machines get the same rows and sums', () => {
  const { passed, failed, skipped: open1, rows } = JSON.parse(jsonOf('it', [good, bad, open]))
  assert.deepEqual([passed, failed, open1], [1, 1, 1])
  assert.deepEqual(rows, [good, bad, open])
})

test('one failure is exit code 1, and so is nothing that passed', () => {
  const codes = (rows: readonly Row[]) => [exitCodeOf(rows, false), exitCodeOf(rows, true)]
  assert.deepEqual(codes([good]), [0, 0])
  assert.deepEqual(codes([good, open]), [0, 1])
  assert.deepEqual(codes([good, bad]), [1, 1])
  assert.deepEqual(codes([open]), [1, 1])
  assert.deepEqual(codes([]), [1, 1])
})

test('a command can be pasted into a shell', () => {
  const line = commandLine('siege', [
    '-H',
    "it's",
    'https://[::1]:4318/v1/traces POST {}',
    '$TOKEN',
  ])
  assert.equal(line, `siege -H 'it'\\''s' 'https://[::1]:4318/v1/traces POST {}' $TOKEN`)
})

test('memory is read from docker stats; the whole machine is no limit', () => {
  const line = (limit: string) =>
    `{"CPUPerc":"1.25%","MemUsage":"120.5MiB / ${limit}","Name":"tollgate-tollgate-1"}`
  const [limited, unlimited] = usageIn(`${line('400MiB')}\n${line('15.5GiB')}\n`, 16 * 1024 * MIB)
  assert.deepEqual(limited, {
    name: 'tollgate-tollgate-1',
    memoryBytes: 120.5 * MIB,
    memoryLimitBytes: 400 * MIB,
    cpuPercent: 1.25,
  })
  assert.equal(unlimited?.memoryLimitBytes, undefined)
  assert.equal(bytesOf('0B'), 0)
  assert.throws(() => bytesOf('--'))
})

test('near the limit, or without one, fails', () => {
  const usage = { name: 'gateway', memoryBytes: 150 * MIB, cpuPercent: 3 }
  const at = (memoryLimitBytes: number | undefined) =>
    judgeUsage({ ...usage, memoryLimitBytes }, '').status
  assert.deepEqual([at(400 * MIB), at(160 * MIB), at(undefined)], ['pass', 'fail', 'fail'])
})

test('a gateway that is not ready fails', () => {
  assert.equal(judgeReady(200, '{"status":"ready"}', '').status, 'pass')
  assert.equal(judgeReady(503, '{"status":"not ready"}', '').status, 'fail')
})
