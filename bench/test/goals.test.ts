import assert from 'node:assert/strict'
import { test } from 'node:test'
import { verdictsOf } from '../goals.ts'
import { BASELINE } from '../idle.ts'
import type { Round } from '../measure.ts'
import type { Results } from '../report.ts'
import { SCENARIOS } from '../scenarios.ts'

const round = (cpuUs: number): Round => ({
  ...{ cpuUs, loadCpuUs: 0, backendCpuUs: 0, foreignShare: 0, requestsPerSecond: 1 },
  ...{ succeeded: 1, failed: 0, status2xx: 1, status4xx: 0, p50Us: 1, p99Us: 1 },
})

/** A run of the first scenario and of its refusals, with these costs. */
function results(costs: Record<string, number[]>, refusedCosts: Record<string, number[]>): Results {
  const rowOf = (title: string, own: Record<string, number[]>): Results['rows'][number] => {
    const scenario = SCENARIOS.find((each) => each.title === title)
    assert.ok(scenario !== undefined, title)
    const runs = new Map(Object.entries(own).map(([name, figures]) => [name, figures.map(round)]))
    return { scenario, requests: 1, runs, peaksKb: new Map() }
  }
  return {
    machine: {
      ...{ processor: '', cores: 1, memoryGb: 1, kernel: '', node: '', openssl: '', h2load: '' },
      ...{ commit: '', isDirty: false, date: '' },
    },
    versions: new Map(),
    rounds: 1,
    rows: [rowOf('gRPC 227 B, 10 × 10', costs), rowOf('gRPC 227 B refused, 10 × 10', refusedCosts)],
    memory: new Map([['Tollgate', { restKb: 99 * 1024, peakKb: 0, afterKb: 0 }]]),
    idle: new Map([
      ['Tollgate', 90 * 1024],
      [BASELINE.name, 50 * 1024],
    ]),
    latency: [],
    problems: [],
  }
}

test('judges by the smallest figures, and only what was measured', () => {
  const verdicts = verdictsOf(
    results({ Tollgate: [9, 6], HAProxy: [10, 14], nginx: [20] }, { Tollgate: [7], HAProxy: [8] }),
  )
  assert.deepEqual(
    verdicts.map(({ goal, measured, isMet }) => [goal, measured, isMet]),
    [
      ['gRPC 227 B, 10 × 10 ≤ 0.67 × HAProxy', '0.60 ×', true],
      ['gRPC 227 B, 10 × 10 ≤ 0.50 × HAProxy (hoped for)', '0.60 ×', false],
      ['gRPC 227 B, 10 × 10 ≤ 0.50 × nginx', '0.30 ×', true],
      ['gRPC 227 B refused, 10 × 10 ≤ 1.00 × Tollgate, gRPC 227 B, 10 × 10', '1.17 ×', false],
      ['gRPC 227 B refused, 10 × 10 ≤ 1.00 × HAProxy (hoped for)', '0.88 ×', true],
      ['memory at rest < 100 MB', '99.0 MB', true],
      ["an idle TLS connection, beyond what Node's TLS takes < 30 kB", '40.0 kB', false],
    ],
  )
})
