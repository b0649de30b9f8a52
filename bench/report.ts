/** Turns a run into the table, RESULTS.md and a JSON file. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { median, minimum, SUBJECT, verdictsOf } from './goals.ts'
import type { Round } from './measure.ts'
import { PACE_PER_SECOND } from './measure.ts'
import type { Scenario } from './scenarios.ts'

/** Where and on what a run was made. */
export interface Machine {
  readonly processor: string
  readonly cores: number
  readonly memoryGb: number
  readonly kernel: string
  readonly node: string
  readonly openssl: string
  readonly h2load: string
  readonly commit: string
  /** The sources had changes that were not committed. */
  readonly isDirty: boolean
  readonly date: string
}

/** A run. Maps are keyed by the name of the proxy. */
export interface Results {
  readonly machine: Machine
  readonly versions: ReadonlyMap<string, string>
  readonly rounds: number
  readonly rows: {
    readonly scenario: Scenario
    readonly requests: number
    readonly runs: ReadonlyMap<string, readonly Round[]>
    readonly peaksKb: ReadonlyMap<string, number>
  }[]
  readonly memory: ReadonlyMap<string, { restKb: number; peakKb: number; afterKb: number }>
  readonly latency: {
    readonly protocol: 'grpc' | 'http'
    readonly results: ReadonlyMap<string, { p50Us: number; p99Us: number }>
  }[]
  /** Bytes of memory for each idle connection. */
  readonly idle: ReadonlyMap<string, number>
  /** Rounds that did not count, and why. */
  readonly problems: readonly string[]
}

/** All tables of a run, as Markdown. */
export function tableOf(results: Results): string {
  const names = [...results.versions.keys()]
  const others = names.includes(SUBJECT) ? names.filter((name) => !name.startsWith(SUBJECT)) : []
  const cpu = results.rows.map(({ scenario, requests, runs }) => {
    const least = (name: string) => minimum((runs.get(name) ?? []).map(({ cpuUs }) => cpuUs))
    const middle = (name: string) => median((runs.get(name) ?? []).map(({ cpuUs }) => cpuUs))
    return [
      scenario.title,
      requests.toLocaleString('en'),
      ...names.map((name) =>
        runs.has(name) ? `${digits(least(name))} (${digits(middle(name))})` : '–',
      ),
      ...others.map((name) => digits(least(SUBJECT) / least(name))),
    ]
  })
  const speed = results.rows.map(({ scenario, runs }) => [
    scenario.title,
    ...names.map((name) => {
      if (!runs.has(name)) return '–'
      const of = (pick: (round: Round) => number) => median((runs.get(name) ?? []).map(pick))
      return [
        Math.round(of(({ requestsPerSecond }) => requestsPerSecond)).toLocaleString('en'),
        `${milliseconds(of(({ p50Us }) => p50Us))} / ${milliseconds(of(({ p99Us }) => p99Us))}`,
      ].join(' · ')
    }),
  ])
  const megabytes = (kb: number | undefined) => digits((kb ?? Number.NaN) / 1024)
  const memory = [...results.memory].map(([name, { restKb, peakKb, afterKb }]) => [
    name,
    megabytes(restKb),
    megabytes(peakKb),
    megabytes(afterKb),
  ])
  const paths = ['direct', ...names]
  const latency = results.latency.map(({ protocol, results: measured }) => {
    const direct = measured.get('direct')?.p50Us ?? Number.NaN
    return [
      protocol === 'grpc' ? 'gRPC' : 'HTTP/1.1',
      ...paths.map((name) => {
        if (!measured.has(name)) return '–'
        const { p50Us = Number.NaN, p99Us = Number.NaN } = measured.get(name) ?? {}
        const added =
          name === 'direct' ? '' : ` (${p50Us < direct ? '' : '+'}${milliseconds(p50Us - direct)})`
        return `${milliseconds(p50Us)}${added} / ${milliseconds(p99Us)}`
      }),
    ]
  })
  const verdicts = verdictsOf(results).map(({ goal, measured, isMet, isAim }) => [
    goal,
    measured,
    isMet ? 'met' : isAim ? 'not yet' : 'missed',
  ])
  return [
    ...(verdicts.length === 0
      ? []
      : [
          '## Goals\n',
          `What ${SUBJECT} is held to, as far as this run measured it.\n`,
          markdown(['goal', 'measured', ''], verdicts),
          '',
        ]),
    '## CPU µs for each request\n',
    `Minimum of ${results.rounds} rounds (median in brackets): user and system time of the proxy's processes, handshakes included. Lower is better.\n`,
    markdown(
      [
        'load (connections × streams)',
        'requests a round',
        ...names,
        ...others.map((name) => `÷ ${name}`),
      ],
      cpu,
    ),
    '\n## Requests a second · latency p50 / p99 in ms, as fast as the load generator can\n',
    'Median of the rounds. Load generator, proxy and responder share the cores.\n',
    markdown(['load', ...names], speed),
    '\n## Memory in MB\n',
    markdown(['proxy', 'at rest', 'peak', 'two seconds after'], memory),
    ...(results.idle.size === 0
      ? []
      : [
          '\n## Memory of an idle connection in kB\n',
          'Resident memory of the process for each of 1,000 gRPC connections with one call done, TLS included.\n',
          markdown(
            [...results.idle.keys()],
            [[...results.idle.values()].map((bytes) => digits(bytes / 1024))],
          ),
        ]),
    ...(latency.length === 0
      ? []
      : [
          `\n## Latency p50 / p99 in ms at ${PACE_PER_SECOND.toLocaleString('en')} requests a second, 227 B\n`,
          'Direct is without TLS; in brackets what the proxy adds to the p50.\n',
          markdown(['protocol', ...paths], latency),
        ]),
    ...(results.problems.length === 0
      ? []
      : ['\n## Rounds that did not count\n', ...results.problems.map((problem) => `- ${problem}`)]),
    '',
  ].join('\n')
}

/** Writes RESULTS.md and results/DATE.json beside this file. */
export function saveResults(results: Results): void {
  const { machine, versions } = results
  const foreign = results.rows.flatMap(({ runs }) =>
    [...runs.values()].flat().map(({ foreignShare }) => foreignShare),
  )
  const day = machine.date.slice(0, 10)
  const text = [
    '# Results\n',
    `${day}, commit ${machine.commit}${machine.isDirty ? ' with changes' : ''}. ${machine.processor}, ${machine.cores} cores, ${machine.memoryGb} GB, Linux ${machine.kernel}; Node ${machine.node} (OpenSSL ${machine.openssl}), ${[...versions].map(([name, version]) => `${name} ${version}`).join(', ')}, h2load ${machine.h2load}. Of the machine's busy time ${digits(median(foreign) * 100)} % (median) belonged to other programs.\n`,
    'To run it again: `npm --prefix bench run bench`. What is measured and how to read it: [README](README.md). Compare figures within one table only.\n',
    tableOf(results),
  ].join('\n')
  writeFileSync(join(import.meta.dirname, 'RESULTS.md'), text)
  const directory = join(import.meta.dirname, 'results')
  mkdirSync(directory, { recursive: true })
  writeFileSync(
    join(directory, `${day}.json`),
    `${JSON.stringify(
      results,
      (_, value) => {
        if (value instanceof Map) return Object.fromEntries(value)
        return typeof value === 'number' ? Number(value.toPrecision(5)) : value
      },
      2,
    )}\n`,
  )
}

function digits(figure: number): string {
  if (Number.isNaN(figure)) return '–'
  if (Math.abs(figure) >= 100) return Math.round(figure).toString()
  return figure.toFixed(Math.abs(figure) >= 10 ? 1 : 2)
}

function milliseconds(microseconds: number): string {
  return Number.isNaN(microseconds) ? '–' : (microseconds / 1000).toFixed(2)
}

function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n')
}
