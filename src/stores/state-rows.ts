/** Reads the JSON of a file of state field by field; what is wrong is an Error that names the place. */

/** An object of the file. */
export type Row = Readonly<Record<string, unknown>>

/** An object with fields. */
export function asObject(value: unknown, at: string): Row {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Row
  throw new Error(`${at}: expected an object`)
}

/** A list of objects, each with its place for messages. */
export function rows(file: Row, name: string): [Row, string][] {
  const list = file[name]
  if (!Array.isArray(list)) throw new Error(`${name}: expected a list`)
  return list.map((row, index) => [asObject(row, `${name}[${index}]`), `${name}[${index}]`])
}

/** A text that is not empty. */
export function asText(value: unknown, at: string): string {
  if (typeof value === 'string' && value !== '') return value
  throw new Error(`${at}: expected a text, got ${JSON.stringify(value)}`)
}

/** A number of at least 0. */
export function asCount(value: unknown, at: string): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value
  throw new Error(`${at}: expected a number of at least 0, got ${JSON.stringify(value)}`)
}

/** Unix milliseconds, from a time in ISO 8601. */
export function asTime(value: unknown, at: string): number {
  const wallMs = typeof value === 'string' ? Date.parse(value) : Number.NaN
  if (!Number.isNaN(wallMs)) return wallMs
  throw new Error(
    `${at}: expected a time such as 2030-01-31T12:00:00Z, got ${JSON.stringify(value)}`,
  )
}

/** A time as it stands in the file: in UTC, so that a person can read it. */
export function iso(wallMs: number): string {
  return new Date(wallMs).toISOString()
}
