/** The dashboards in docker/grafana, and what they ask Prometheus. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Dashboard, Panel, RowPanel } from '@grafana/schema'
import { parser } from '@prometheus-io/lezer-promql'
import { ROOT } from './tools.ts'

/** The folder that Grafana is given. */
export const GRAFANA = join(ROOT, 'docker/grafana')

/** What is asked, and how. */
export interface Question {
  /** Dashboard, panel and query, for messages. */
  readonly where: string
  /** With `$variables` in it. */
  readonly expr: string
  /** At the end of the time range, over all of it, or the names of series alone. */
  readonly asked: 'now' | 'over time' | 'label values'
  /** Of which label, for label values. */
  readonly label?: string
  /** Labels that the legend or the columns show: they have to be there. */
  readonly shown?: readonly string[]
}

/** A dashboard as it lies in its file. */
export function readDashboard(file: string): Dashboard {
  return JSON.parse(readFileSync(join(GRAFANA, 'dashboards', file), 'utf8')) as Dashboard
}

/** Every panel, also those of folded rows; the rows themselves are left out. */
export function panelsOf({ panels = [] }: Dashboard): Panel[] {
  return panels.flatMap((panel) => (isRow(panel) ? panel.panels : [panel]))
}

/** The rows. */
export function rowsOf({ panels = [] }: Dashboard): RowPanel[] {
  return panels.filter(isRow)
}

function isRow(panel: Panel | RowPanel): panel is RowPanel {
  return panel.type === 'row'
}

/** Everything a dashboard asks: for its annotations, its variables and its panels. */
export function questionsOf(dashboard: Dashboard): Question[] {
  const title = dashboard.title ?? ''
  const annotations = (dashboard.annotations?.list ?? []).map(({ name, target }) => ({
    where: `${title}: ${name}`,
    expr: text(target, 'expr'),
    asked: 'over time' as const,
  }))
  const variables = (dashboard.templating?.list ?? [])
    .filter(({ type }) => type === 'query')
    .map(({ name, query }) => {
      const [, expr, label] = /^label_values\((.+), (\w+)\)$/.exec(text(query, 'query')) ?? []
      if (expr === undefined || label === undefined) throw new Error(`$${name}: no label_values`)
      return { where: `${title}: $${name}`, expr, asked: 'label values' as const, label }
    })
  const panels = panelsOf(dashboard).flatMap((panel) =>
    (panel.targets ?? []).map((target) => ({
      where: `${title}: ${panel.title} ${text(target, 'refId')}`,
      expr: text(target, 'expr'),
      asked: target.instant === true ? ('now' as const) : ('over time' as const),
      shown: [...text(target, 'legendFormat').matchAll(/\{\{(\w+)\}\}/g)]
        .map(([, label = '']) => label)
        // The first question of a table has all of its labels.
        .concat(text(target, 'refId') === 'A' ? columnsOf(panel) : []),
    })),
  )
  return [...annotations, ...variables, ...panels]
}

/** The columns of a table that are labels; none for other panels. */
function columnsOf({ transformations = [] }: Panel): string[] {
  const renamed = transformations.map(
    ({ options }) =>
      (options as { renameByName?: Readonly<Record<string, string>> }).renameByName ?? {},
  )
  return renamed.flatMap((names) => Object.keys(names)).filter((name) => !name.startsWith('Value'))
}

function text(from: unknown, field: string): string {
  const value = (from as Readonly<Record<string, unknown>> | undefined)?.[field]
  if (typeof value !== 'string') throw new Error(`${field} is no text: ${JSON.stringify(from)}`)
  return value
}

/** Puts values in place of `$name`, as Grafana does; a name without a value throws. */
export function fillIn(expr: string, values: Readonly<Record<string, string>>): string {
  return expr.replace(/\$(\w+)/g, (_, name: string) => {
    const value = values[name]
    if (value === undefined) throw new Error(`$${name} has no value`)
    return value
  })
}

/** A label matcher, such as `job=~"a|b"`. */
export interface Matcher {
  readonly label: string
  readonly operator: string
  readonly value: string
}

/** A metric that is read. Where only labels choose, the metric is empty. */
export interface Read {
  readonly metric: string
  readonly matchers: readonly Matcher[]
}

/** What an expression reads, by the grammar of Prometheus's own editor. Throws where it does not parse. */
export function readsOf(expr: string): Read[] {
  const tree = parser.parse(expr)
  const reads: Read[] = []
  tree.iterate({
    enter({ type, node, from }) {
      if (type.isError) throw new Error(`not PromQL at ${from}: ${expr}`)
      if (type.name !== 'VectorSelector') return
      const name = node.getChild('Identifier')
      const matchers = node.getChild('LabelMatchers')
      reads.push({
        metric: name === null ? '' : expr.slice(name.from, name.to),
        matchers: matchers === null ? [] : matchersOf(expr.slice(matchers.from, matchers.to)),
      })
    },
  })
  return reads
}

function matchersOf(braces: string): Matcher[] {
  return [...braces.matchAll(/(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"/g)].map(
    ([, label = '', operator = '', value = '']) => ({ label, operator, value }),
  )
}
