/** Panels, typed by Grafana's own schema: what all of them have, and each kind with its settings. */
import {
  BigValueColorMode,
  BigValueGraphMode,
  BigValueJustifyMode,
  BigValueTextMode,
  type DataTransformerConfig,
  FieldColorModeId,
  type FieldConfig,
  type FieldConfigSource,
  MappingType,
  type Panel,
  PercentChangeColorMode,
  SpecialValueMatch,
  type ThresholdsConfig,
  ThresholdsMode,
  type ValueMapping,
  VizOrientation,
} from '@grafana/schema'
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen'
import { BAD, GOOD, PLAIN } from './colours.ts'

/** Every panel asks this: the data source that is chosen at the top. */
// biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana fills it in.
export const DATA_SOURCE = { type: 'prometheus', uid: '${datasource}' } as const

/** A question to Prometheus. */
export interface Query {
  readonly expr: string
  /** With labels as `{{outcome}}`. Tables have none. */
  readonly legend?: string
}

/** Grafana's name of a unit. `suffix:` is written behind the figure as it is. */
export type Unit =
  | 'none'
  | 'short'
  | 's'
  | 'bytes'
  | 'Bps'
  | 'reqps'
  | 'cps'
  | 'iops'
  | 'percentunit'
  | 'dateTimeFromNow'
  | 'suffix: days'

/** Colours from a value on; the first has no lower end. */
export type Steps = readonly [
  first: string,
  ...rest: readonly (readonly [from: number, colour: string])[],
]

/** What every panel is told. */
export interface Look {
  readonly title: string
  /** What it shows, and what to do where it is not as it should be. Markdown. */
  readonly meaning: string
  /** Alerts about it; their sections of docs/alerts.md are named. */
  readonly alerts?: readonly string[]
  readonly unit: Unit
  readonly queries: readonly Query[]
  readonly steps?: Steps
  readonly min?: number
  readonly max?: number
  readonly decimals?: number
  /** Shown in place of a figure where Prometheus has none. */
  readonly empty?: string
  /** Where a click on a figure leads to, and the words for it. */
  readonly leadsTo?: { readonly title: string; readonly url: string }
}

/** How a query is asked: at the end of the time range, or over all of it. */
export type Asked = 'now' | 'over time'

/** A panel without its place. */
export function panel(
  type: string,
  look: Look,
  asked: Asked,
  rest: {
    readonly options: object
    readonly field?: FieldConfig
    readonly overrides?: FieldConfigSource['overrides']
    readonly format?: 'time_series' | 'table' | 'heatmap'
    readonly transformations?: DataTransformerConfig[]
  },
): Panel {
  return {
    type,
    title: look.title,
    description: description(look),
    datasource: DATA_SOURCE,
    targets: look.queries.map(({ expr, legend }, index) => ({
      refId: String.fromCharCode('A'.charCodeAt(0) + index),
      datasource: DATA_SOURCE,
      editorMode: 'code',
      expr,
      legendFormat: legend ?? '__auto',
      format: rest.format ?? 'time_series',
      instant: asked === 'now',
      range: asked === 'over time',
    })),
    fieldConfig: {
      defaults: { ...fieldOf(look), ...rest.field },
      overrides: rest.overrides ?? [],
    },
    options: { ...rest.options },
    ...(rest.transformations === undefined ? {} : { transformations: rest.transformations }),
  }
}

/** Colours by thresholds. */
export function thresholds([first, ...rest]: Steps): ThresholdsConfig {
  return {
    mode: ThresholdsMode.Absolute,
    steps: [{ color: first, value: null }, ...rest.map(([value, color]) => ({ color, value }))],
  }
}

function fieldOf({ unit, steps, min, max, decimals, empty, leadsTo }: Look): FieldConfig {
  return {
    unit,
    color: { mode: FieldColorModeId.Thresholds },
    thresholds: thresholds(steps ?? [PLAIN]),
    ...(min === undefined ? {} : { min }),
    ...(max === undefined ? {} : { max }),
    ...(decimals === undefined ? {} : { decimals }),
    ...(empty === undefined ? {} : { noValue: empty }),
    ...(leadsTo === undefined ? {} : { links: [leadsTo] }),
  }
}

function description({ meaning, alerts = [] }: Look): string {
  if (alerts.length === 0) return meaning
  const sections = alerts.map((name) => `\`docs/alerts.md#${name.toLowerCase()}\``)
  return `${meaning}\n\nIf it fires: ${sections.join(', ')}`
}

/** One figure. `trend` draws its course behind it. */
export function stat(look: Look, { trend = false } = {}): Panel {
  return big(look, trend, { mappings: [notANumber(look.empty ?? 'nothing yet')] })
}

/** One state: 1 is good, 0 is bad, and each is said in a word. */
export function state(look: Omit<Look, 'unit' | 'steps'>, good: string, bad: string): Panel {
  return big({ ...look, unit: 'none' }, false, { mappings: [words(good, bad)] })
}

function big(look: Look, hasTrend: boolean, field: FieldConfig): Panel {
  const options: StatOptions = {
    colorMode: BigValueColorMode.Background,
    graphMode: hasTrend ? BigValueGraphMode.Area : BigValueGraphMode.None,
    justifyMode: BigValueJustifyMode.Auto,
    textMode: BigValueTextMode.Value,
    wideLayout: true,
    showPercentChange: false,
    percentChangeColorMode: PercentChangeColorMode.Standard,
    orientation: VizOrientation.Auto,
    reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
  }
  return panel('stat', look, hasTrend ? 'over time' : 'now', { options, field })
}

/** 0 and 1 in words and colours. */
export function words(good: string, bad: string): ValueMapping {
  return {
    type: MappingType.ValueToText,
    options: { 0: { text: bad, color: BAD, index: 1 }, 1: { text: good, color: GOOD, index: 0 } },
  }
}

/** A quotient or quantile of nothing. */
function notANumber(text: string): ValueMapping {
  return {
    type: MappingType.SpecialValue,
    options: { match: SpecialValueMatch.NaN, result: { text, color: PLAIN, index: 0 } },
  }
}
