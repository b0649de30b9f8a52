/** Tables: several questions joined into one row for each thing. */
import {
  type FieldConfigSource,
  type Panel,
  TableCellBackgroundDisplayMode,
  TableCellDisplayMode,
  TableCellHeight,
  type ValueMapping,
} from '@grafana/schema'
import type {
  FieldConfig as TableField,
  Options as TableOptions,
} from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen'
import { type Look, panel, type Steps, thresholds, type Unit } from './panels.ts'

/** A column with the figure of one query. */
export interface Column {
  readonly title: string
  readonly expr: string
  readonly unit: Unit
  /** Colours the cell. */
  readonly steps?: Steps
  readonly decimals?: number
  /** Says a figure in words. */
  readonly words?: ValueMapping
  /** Asked for its labels alone. */
  readonly isHidden?: boolean
}

/** A row for each combination of labels. `labels` are the first columns, by the label and the title. */
export interface Table extends Omit<Look, 'queries' | 'unit'> {
  readonly labels: Readonly<Record<string, string>>
  readonly columns: readonly Column[]
  /** Title of the column to sort by, and whether the largest comes first. */
  readonly sortBy: string
  readonly isLargestFirst?: boolean
}

/** Shows the figures of the end of the time range. */
export function table(look: Table): Panel {
  const figureOf = (index: number) =>
    look.columns.length === 1 ? 'Value' : `Value #${String.fromCharCode(65 + index)}`
  const titles = Object.fromEntries([
    ...Object.entries(look.labels),
    ...look.columns.map(({ title }, index) => [figureOf(index), title] as const),
  ])
  const hidden = look.columns.flatMap(({ isHidden }, index) =>
    isHidden === true ? [figureOf(index)] : [],
  )
  const options: TableOptions = {
    showHeader: true,
    cellHeight: TableCellHeight.Sm,
    frameIndex: 0,
    enablePagination: true,
    sortBy: [{ displayName: look.sortBy, desc: look.isLargestFirst ?? false }],
  }
  const custom: TableField = {
    align: 'auto',
    cellOptions: { type: TableCellDisplayMode.Auto },
    filterable: true,
    inspect: false,
  }
  return panel('table', { ...look, unit: 'none', queries: look.columns }, 'now', {
    format: 'table',
    options,
    field: { custom: { ...custom } },
    overrides: look.columns.filter(({ isHidden }) => isHidden !== true).map(override),
    transformations: [
      { id: 'merge', options: {} },
      {
        id: 'organize',
        options: {
          excludeByName: Object.fromEntries(['Time', ...hidden].map((name) => [name, true])),
          indexByName: Object.fromEntries(Object.keys(titles).map((name, index) => [name, index])),
          renameByName: titles,
        },
      },
    ],
  })
}

function override(column: Column): FieldConfigSource['overrides'][number] {
  const isColoured = column.steps !== undefined || column.words !== undefined
  const cell: TableField['cellOptions'] = {
    type: TableCellDisplayMode.ColorBackground,
    mode: TableCellBackgroundDisplayMode.Basic,
  }
  const properties: { id: string; value: unknown }[] = [{ id: 'unit', value: column.unit }]
  if (column.decimals !== undefined) properties.push({ id: 'decimals', value: column.decimals })
  if (column.steps !== undefined)
    properties.push({ id: 'thresholds', value: thresholds(column.steps) })
  if (column.words !== undefined) properties.push({ id: 'mappings', value: [column.words] })
  if (isColoured) properties.push({ id: 'custom.cellOptions', value: cell })
  return { matcher: { id: 'byName', options: column.title }, properties }
}
