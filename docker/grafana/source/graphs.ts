/** Panels that show a course over time, or many things beside each other. */
import {
  AxisPlacement,
  BarGaugeDisplayMode,
  BarGaugeNamePlacement,
  BarGaugeSizing,
  BarGaugeValueMode,
  FieldColorModeId,
  type FieldConfigSource,
  GraphDrawStyle,
  GraphGradientMode,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LineInterpolation,
  type Panel,
  SortOrder,
  StackingMode,
  TooltipDisplayMode,
  type ValueMapping,
  VisibilityMode,
  VizOrientation,
} from '@grafana/schema'
import type { Options as BarGaugeOptions } from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen'
import type {
  FieldConfig as StateTimelineField,
  Options as StateTimelineOptions,
} from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen'
import type {
  FieldConfig as TimeSeriesField,
  Options as TimeSeriesOptions,
} from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen'
import { type Look, panel } from './panels.ts'

/** How lines are drawn. */
export interface Lines {
  /** Areas on top of each other: for parts of a whole. */
  readonly isStacked?: boolean
  /** Fixed colours by legend. */
  readonly colours?: Readonly<Record<string, string>>
  /** Shows where the first threshold is. */
  readonly showsThreshold?: boolean
  /** The figure of each line in the legend: the latest, or the highest of the time shown. */
  readonly figure?: 'lastNotNull' | 'max'
}

/** Lines over time, with a legend that names every one and its figure. */
export function lines(look: Look, how: Lines = {}): Panel {
  const { isStacked = false, colours = {}, showsThreshold = false } = how
  const options: TimeSeriesOptions = {
    legend: {
      showLegend: true,
      displayMode: LegendDisplayMode.Table,
      placement: 'bottom',
      calcs: ['mean', how.figure ?? 'lastNotNull'],
      sortBy: 'Mean',
      sortDesc: true,
    },
    tooltip: { mode: TooltipDisplayMode.Multi, sort: SortOrder.Descending, hideZeros: true },
  }
  const custom: TimeSeriesField = {
    drawStyle: GraphDrawStyle.Line,
    lineInterpolation: LineInterpolation.Linear,
    lineWidth: 1,
    fillOpacity: isStacked ? 40 : 8,
    gradientMode: GraphGradientMode.None,
    showPoints: VisibilityMode.Auto,
    pointSize: 4,
    spanNulls: false,
    stacking: { group: 'A', mode: isStacked ? StackingMode.Normal : StackingMode.None },
    axisPlacement: AxisPlacement.Auto,
    axisSoftMin: 0,
    thresholdsStyle: {
      mode: showsThreshold ? GraphThresholdsStyleMode.Dashed : GraphThresholdsStyleMode.Off,
    },
  }
  return panel('timeseries', look, 'over time', {
    options,
    field: { color: { mode: FieldColorModeId.PaletteClassic }, custom: { ...custom } },
    overrides: Object.entries(colours).map(([name, colour]) => fixedColour(name, colour)),
  })
}

/** One bar for each thing, as it is now. */
export function bars(look: Look): Panel {
  const options: BarGaugeOptions = {
    displayMode: BarGaugeDisplayMode.Basic,
    orientation: VizOrientation.Horizontal,
    namePlacement: BarGaugeNamePlacement.Auto,
    sizing: BarGaugeSizing.Auto,
    showUnfilled: true,
    valueMode: BarGaugeValueMode.Color,
    minVizHeight: 14,
    minVizWidth: 8,
    maxVizHeight: 32,
    legend: {
      showLegend: false,
      displayMode: LegendDisplayMode.List,
      placement: 'bottom',
      calcs: [],
    },
    reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
  }
  return panel('bargauge', look, 'now', { options })
}

/** Bands of colour that show when something was in which state. */
export function states(look: Omit<Look, 'unit'>, mapping: ValueMapping): Panel {
  const options: StateTimelineOptions = {
    legend: {
      showLegend: false,
      displayMode: LegendDisplayMode.List,
      placement: 'bottom',
      calcs: [],
    },
    tooltip: { mode: TooltipDisplayMode.Single, sort: SortOrder.None },
    mergeValues: true,
    rowHeight: 0.8,
    showValue: VisibilityMode.Never,
    perPage: 20,
  }
  const custom: StateTimelineField = { fillOpacity: 80, lineWidth: 0 }
  return panel('state-timeline', { ...look, unit: 'none' }, 'over time', {
    options,
    field: { mappings: [mapping], custom: { ...custom } },
  })
}

function fixedColour(name: string, colour: string): FieldConfigSource['overrides'][number] {
  return {
    matcher: { id: 'byName', options: name },
    properties: [{ id: 'color', value: { mode: FieldColorModeId.Fixed, fixedColor: colour } }],
  }
}
