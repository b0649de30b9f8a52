/** The rules in docker/prometheus, as far as tests have to understand them. */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './tools.ts'

/** The folder that Prometheus is given. */
export const PROMETHEUS = join(ROOT, 'docker/prometheus')

/** An alert. */
export interface Alert {
  readonly alert: string
  /** `gateway` of rules/gateway.yml. */
  readonly file: string
  readonly expr: string
  /** As it is written, `10m`; undefined for at once. */
  readonly holds: string | undefined
  readonly severity: string | undefined
  readonly runbook: string | undefined
}

/** A recording rule. */
export interface Recorded {
  readonly record: string
  readonly expr: string
}

/** A metric that an expression reads, with its label matchers; none where there are no braces. */
export interface Selector {
  readonly metric: string
  readonly matchers: string | undefined
}

/** All rules. They are read by their layout, which the real Prometheus is asked to confirm. */
export function readRules(): { readonly alerts: Alert[]; readonly records: Recorded[] } {
  const alerts: Alert[] = []
  const records: Recorded[] = []
  for (const path of globSync('rules/*.yml', { cwd: PROMETHEUS }).toSorted()) {
    const file = path.slice('rules/'.length, -'.yml'.length)
    const text = readFileSync(join(PROMETHEUS, path), 'utf8').replace(/^ *#.*\n/gm, '')
    for (const rule of text.split(/^ {6}- /m).slice(1)) {
      const [, kind, name = ''] = /^(alert|record): (\S+)$/m.exec(rule) ?? []
      const [, folded, inline = ''] = /^ {8}expr: (?:>-\n((?: {10}.*\n)+)|(.*)$)/m.exec(rule) ?? []
      const expr = (folded ?? inline).replace(/\s+/g, ' ').trim()
      if (kind === 'record') records.push({ record: name, expr })
      else
        alerts.push({
          ...{ alert: name, file, expr },
          holds: /^ {8}for: (\w+)$/m.exec(rule)?.[1],
          severity: /^ {10}severity: (\w+)$/m.exec(rule)?.[1],
          runbook: /^ {10}runbook_url: (\S+)$/m.exec(rule)?.[1],
        })
    }
  }
  return { alerts, records }
}

const WORDS = new Set(['and', 'or', 'unless', 'by', 'on', 'without', 'ignoring', 'bool'])

/** What an expression reads. */
export function selectorsOf(expr: string): Selector[] {
  const plain = expr
    .replace(/\b(?:by|on|without|ignoring|group_left|group_right) ?\([^)]*\)/g, ' ')
    .replace(/\[[^\]]*\]/g, ' ')
  return [
    ...plain.matchAll(/([a-z_:][\w:]*)(?:(\{(?:[^}"]|"[^"]*")*\})|(?![\w:]*\s*\())/gi),
  ].flatMap(([, metric = '', matchers]) => (WORDS.has(metric) ? [] : [{ metric, matchers }]))
}

/** The bounds in an expression: every comparison with a number, each once. */
export function boundsOf(expr: string): string[] {
  const found = expr.matchAll(/(?:==|>=|<=|<|>) [0-9][0-9.]*(?: \* [0-9]+)*/g)
  return [...new Set([...found].map(([bound]) => bound))]
}
