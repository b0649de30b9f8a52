/**
 * What the services of the stack need while agents send steadily, for the table in docs/compose.md: the
 * limits for a server of 2 GB and of 1 GB hold, and nothing is ended for its memory or started anew.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Child } from '../support/child.ts'
import { outcomesOf, readMetrics } from '../support/metrics.ts'
import { addOutsider, type Outsider, SERVER } from '../support/outsider.ts'
import { hasStack, type Stack, startStack, WITH_CERTIFICATE } from '../support/stack.ts'
import { tool } from '../support/tools.ts'

/** Records a second. They come in batches, below the 100 requests a second that an address may make. */
const RATES = { traces: 1000, metrics: 1000, logs: 1000 } as const
const SECONDS = Number(process.env.TOLLGATE_LIMITS_SECONDS ?? '30')
const MIB = 2 ** 20

for (const [server, files] of [
  ['2 GB', WITH_CERTIFICATE],
  ['1 GB', [...WITH_CERTIFICATE, 'compose.small.yml']],
] as const) {
  test(`the limits for a server of ${server} hold under a steady load`, async (t) => {
    if (!hasStack(t, 'telemetrygen')) return
    const stack = await startStack(t, { files })
    const outsider = await addOutsider(t, stack.engine)
    const senders = Object.entries(RATES).map(([signal, rate]) =>
      startSender(outsider, stack.token, signal, rate),
    )
    const peaks = new Map<string, Peak>()
    while (!senders.every(({ hasEnded }) => hasEnded)) {
      await look(stack, peaks)
      await pause(1000)
    }
    for (const sender of senders) {
      assert.equal((await sender.exit).code, 0, sender.output)
    }
    const outcomes = outcomesOf(await readMetrics(await stack.inside('tollgate', 9464)))
    t.diagnostic(`requests: ${JSON.stringify(outcomes)}`)
    assert.deepEqual(Object.keys(outcomes), ['accepted'])
    for (const [name, { memoryMib, limitMib, cpuPercent }] of [...peaks].sort()) {
      t.diagnostic(`${name}: ${memoryMib} of ${limitMib} MiB, ${cpuPercent} % of a processor`)
      assert.ok(memoryMib < limitMib * 0.8, `${name} needs ${memoryMib} of ${limitMib} MiB`)
    }
    const format = '{{.Name}} {{.State.OOMKilled}} {{.RestartCount}}'
    const ids = (await stack.compose('ps', '--all', '--quiet')).trim().split('\n')
    for (const state of (await stack.engine.docker(['inspect', `--format=${format}`, ...ids]))
      .trim()
      .split('\n'))
      assert.match(state, / false 0$/)
  })
}

/** The most that was seen. */
interface Peak {
  readonly memoryMib: number
  readonly limitMib: number
  readonly cpuPercent: number
}

function startSender(outsider: Outsider, token: string, signal: string, rate: number): Child {
  const [program, args] = outsider.inside(
    ...[tool('telemetrygen'), signal, '--otlp-endpoint', `${SERVER.ipv4}:4317`],
    ...['--otlp-insecure-skip-verify', '--otlp-header', `authorization="Bearer ${token}"`],
    ...['--rate', String(rate), '--duration', `${SECONDS}s`, '--workers', '1'],
  )
  return new Child(program, args)
}

async function look({ engine }: Stack, peaks: Map<string, Peak>): Promise<void> {
  const format = '{{.Name}} {{.CPUPerc}} {{.MemUsage}}'
  const lines = await engine.docker(['stats', '--no-stream', `--format=${format}`])
  for (const line of lines.trim().split('\n')) {
    const [name = '', cpu = '', used = '', , limit = ''] = line.split(' ')
    const before = peaks.get(name)
    peaks.set(name, {
      memoryMib: Math.max(mibOf(used), before?.memoryMib ?? 0),
      limitMib: mibOf(limit),
      cpuPercent: Math.max(Math.round(Number.parseFloat(cpu)), before?.cpuPercent ?? 0),
    })
  }
}

/** From `docker stats`: 54.5MiB, 1.2GiB, 900KiB. */
function mibOf(words: string): number {
  const [, number = '', unit = ''] = /^([\d.]+)(\w+)$/.exec(words) ?? []
  const bytes = { B: 1, KiB: 1024, MiB: MIB, GiB: 1024 * MIB }[unit]
  if (bytes === undefined) throw new Error(`not a size: ${words}`)
  return Math.round((Number(number) * bytes) / MIB)
}
