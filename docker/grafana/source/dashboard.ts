/** What the dashboards have in common: frame, variables, links, and where panels are put. */
import {
  type AnnotationQuery,
  type Dashboard,
  DashboardCursorSync,
  type DashboardLink,
  type DataQuery,
  defaultDashboard,
  type Panel,
  type RowPanel,
  VariableHide,
  type VariableModel,
  VariableRefresh,
  VariableSort,
} from '@grafana/schema'
import { DATA_SOURCE } from './panels.ts'

/** The uid in provisioning/datasources. */
export const PROVISIONED = 'tollgate-prometheus'

const COLUMNS = 24
const TAG = 'tollgate'

/** Panels of one height, side by side, from left to right; what does not fit goes on below. */
export interface Band {
  /** Of each panel, in units of the grid (30 pixels and a gap). */
  readonly height: number
  /** Panels with their widths, in columns of 24. */
  readonly panels: readonly (readonly [width: number, panel: Panel])[]
}

/** A part of a dashboard under a title. */
export interface Section {
  /** None for the first, which is seen without a word. */
  readonly title?: string
  /** Folded in at first: what is not there in every installation. */
  readonly isFolded?: boolean
  readonly bands: readonly Band[]
}

/** What makes a dashboard. */
export interface Plan {
  /** Stays the same for ever: links and bookmarks have it. */
  readonly uid: string
  readonly title: string
  readonly description: string
  readonly variables: readonly VariableModel[]
  readonly sections: readonly Section[]
  /** How much is shown at first. */
  readonly from: string
}

/** The whole of it, as Grafana reads it from a file. */
export function dashboard(plan: Plan): Dashboard {
  return {
    ...defaultDashboard,
    uid: plan.uid,
    title: plan.title,
    description: plan.description,
    tags: [TAG],
    // Not locked: anything may be tried in the browser. It is not saved there (allowUiUpdates).
    editable: true,
    graphTooltip: DashboardCursorSync.Crosshair,
    refresh: '30s',
    timezone: 'browser',
    time: { from: plan.from, to: 'now' },
    annotations: { list: [firingAlerts()] },
    links: [others()],
    templating: { list: [dataSource(), ...plan.variables] },
    panels: arrange(plan.sections),
  }
}

/** Values of a label, several of which can be chosen, and all by default. */
export function choice(
  name: string,
  label: string,
  description: string,
  query: string,
  { all }: { readonly all?: string } = {},
): VariableModel {
  const everything = { text: ['All'], value: ['$__all'] }
  return {
    ...variable(name, label, description, query),
    includeAll: true,
    multi: true,
    current: everything,
    ...(all === undefined ? {} : { allValue: all }),
  }
}

/** Values of a label, of which one is chosen. */
export function variable(
  name: string,
  label: string,
  description: string,
  query: string,
): VariableModel {
  return {
    type: 'query',
    name,
    label,
    description,
    datasource: DATA_SOURCE,
    query: { qryType: 1, query, refId: 'PrometheusVariableQueryEditor-VariableQuery' },
    refresh: VariableRefresh.onTimeRangeChanged,
    sort: VariableSort.naturalAsc,
  }
}

function dataSource(): VariableModel {
  return {
    type: 'datasource',
    name: 'datasource',
    label: 'Data source',
    description: 'The Prometheus that reads the stack.',
    query: 'prometheus',
    current: { text: 'Prometheus', value: PROVISIONED },
    hide: VariableHide.inControlsMenu,
  }
}

interface PrometheusAnnotation extends AnnotationQuery<DataQuery & { readonly expr: string }> {
  readonly titleFormat: string
  readonly textFormat: string
  readonly tagKeys: string
}

function firingAlerts(): AnnotationQuery {
  const annotation: PrometheusAnnotation = {
    name: 'Firing alerts',
    enable: true,
    hide: false,
    iconColor: 'red',
    datasource: DATA_SOURCE,
    target: { refId: 'Anno', expr: 'ALERTS{alertstate="firing"}' },
    titleFormat: '{{alertname}}',
    textFormat: '{{job}} {{instance}} {{holder}} {{token}}',
    tagKeys: 'severity',
  }
  return annotation
}

function others(): DashboardLink {
  return {
    type: 'dashboards',
    title: 'Tollgate',
    tooltip: 'The other dashboards, over the same time',
    icon: 'dashboard',
    tags: [TAG],
    asDropdown: false,
    includeVars: false,
    keepTime: true,
    targetBlank: false,
  }
}

function arrange(sections: readonly Section[]): (Panel | RowPanel)[] {
  const placed: (Panel | RowPanel)[] = []
  let id = 0
  let y = 0
  for (const { title, isFolded = false, bands } of sections) {
    const row: RowPanel | undefined =
      title === undefined
        ? undefined
        : {
            type: 'row',
            id: ++id,
            title,
            collapsed: isFolded,
            gridPos: { x: 0, y: y++, w: COLUMNS, h: 1 },
            panels: [],
          }
    if (row !== undefined) placed.push(row)
    const into: (Panel | RowPanel)[] = row !== undefined && isFolded ? row.panels : placed
    for (const { height, panels } of bands) {
      let x = 0
      for (const [width, panel] of panels) {
        if (x + width > COLUMNS) {
          x = 0
          y += height
        }
        into.push({ ...panel, id: ++id, gridPos: { x, y, w: width, h: height } })
        x += width
      }
      y += height
    }
  }
  return placed
}
