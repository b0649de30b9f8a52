/** Reads a metrics page (Prometheus text format). */

/** One sample. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** The samples of a page by name. */
export type Page = ReadonlyMap<string, readonly Sample[]>

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g

/** Reads a whole page; throws at a line that is none. */
export function parsePage(text: string): Page {
  const page = new Map<string, Sample[]>()
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const [, name, labels = '', value] = SAMPLE.exec(line) ?? []
    if (name === undefined || value === undefined) throw new Error(`not a sample: ${line}`)
    const samples = page.get(name) ?? []
    page.set(name, samples)
    samples.push({
      labels: Object.fromEntries(
        [...labels.matchAll(LABEL)].map((at) => [at[1] ?? '', at[2] ?? '']),
      ),
      value: Number(value.replace('Inf', 'Infinity')),
    })
  }
  return page
}

/** Sum of the samples of a name whose labels are these. A name that is not there throws. */
export function sumOf(
  page: Page,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const samples = page.get(name)
  if (samples === undefined) throw new Error(`no ${name} on the metrics page`)
  return samples
    .filter((sample) =>
      Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
    )
    .reduce((sum, { value }) => sum + value, 0)
}
