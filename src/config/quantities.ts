/** Durations, sizes, rates and counts. All but counts are written with their unit. */
import { Expected, type Kind } from './kind.ts'

const DURATION_UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

const SIZE_UNITS_BYTES: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1000,
  KB: 1000,
  MB: 1000 ** 2,
  GB: 1000 ** 3,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
}

const PERIODS_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, min: 60, h: 3600 }

/** Least and greatest value, written as an operator would write them. */
export interface Bounds {
  readonly min: string
  readonly max: string
}

/** A duration with its unit (`500ms`, `30s`, `5m`, `1h`, `90d`), read as milliseconds. */
export function duration(bounds: Bounds): Kind<number> {
  const example = 'such as 500ms, 30s, 5m or 1h'
  return quantity('duration', `a duration with its unit, ${example},`, bounds, DURATION_UNITS_MS)
}

/** A size with its unit (`64MiB`, `10MB`), read as bytes. Units are told apart by their letters: MB is 1000², MiB 1024². */
export function size(bounds: Bounds): Kind<number> {
  return quantity('size', 'a size with its unit, such as 64MiB or 10MB,', bounds, SIZE_UNITS_BYTES)
}

/** A whole number. */
export function count({ min, max }: { readonly min: number; readonly max: number }): Kind<number> {
  const expected = new Expected(`a whole number from ${min} to ${max}`)
  return {
    form: 'number',
    parse(text) {
      const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
      return value >= min && value <= max ? value : expected
    },
  }
}

/** How often (`100/s`, `6000/min`, `50/h`), read as a number a second; above zero, at most a million a second. */
export function rate(): Kind<number> {
  const expected = new Expected(
    'a rate such as 100/s, 6000/min or 50/h, above zero and at most 1000000/s',
  )
  return {
    form: 'rate',
    parse(text) {
      const [, digits, period] = /^(\d+(?:\.\d+)?)\/(s|m|min|h)$/.exec(text) ?? []
      const perSecond = Number(digits) / (PERIODS_SECONDS[period ?? ''] ?? Number.NaN)
      return perSecond > 0 && perSecond <= 1e6 ? perSecond : expected
    },
  }
}

/** How many bytes (`10MiB/s`, `600MB/min`), read as bytes a second; from 1 B/s to 100 GB/s. */
export function byteRate(): Kind<number> {
  const expected = new Expected(
    'bytes over time such as 10MiB/s or 600MB/min, from 1B/s to 100GB/s',
  )
  return {
    form: 'size/s',
    parse(text) {
      const at = text.lastIndexOf('/')
      const bytes = amount(text.slice(0, Math.max(at, 0)), SIZE_UNITS_BYTES)
      const perSecond = bytes / (PERIODS_SECONDS[text.slice(at + 1)] ?? Number.NaN)
      return perSecond >= 1 && perSecond <= 1e11 ? perSecond : expected
    },
  }
}

function quantity(
  form: string,
  what: string,
  { min, max }: Bounds,
  units: Readonly<Record<string, number>>,
): Kind<number> {
  const least = amount(min, units)
  const most = amount(max, units)
  const expected = new Expected(`${what} from ${min} to ${max}`)
  return {
    form,
    parse(text) {
      const value = amount(text, units)
      return value >= least && value <= most ? Math.round(value) : expected
    },
  }
}

/** Number times unit; NaN for anything else, and a bare 0 is no exception: units are what prevents mistakes. */
function amount(text: string, units: Readonly<Record<string, number>>): number {
  const [, digits, unit] = /^(\d{1,15}(?:\.\d{1,6})?)([A-Za-z]+)$/.exec(text) ?? []
  const factor = Object.hasOwn(units, unit ?? '') ? units[unit ?? ''] : undefined
  return Number(digits) * (factor ?? Number.NaN)
}
