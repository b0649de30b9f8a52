/** Compares what a sender produced with what the collector wrote down. */
import type { Counted, Received } from '../support/otelcol.ts'

/** What became of the items of one signal. */
export interface Tally {
  readonly sent: number
  /** Different items that arrived. */
  readonly arrived: number
  /** Arrivals beyond the first of an item. */
  readonly duplicates: number
}

export const COUNTED: readonly Counted[] = ['spans', 'points', 'logs']

/** The tally of each signal. */
export function tally(received: Received, sent: number): Record<Counted, Tally> {
  const of = (signal: Counted): Tally => {
    const times = [...received[signal].values()]
    return {
      sent,
      arrived: times.length,
      duplicates: times.reduce((sum, count) => sum + count - 1, 0),
    }
  }
  return { spans: of('spans'), points: of('points'), logs: of('logs') }
}

/** Everything once. */
export function allOnce(sent: number): Record<Counted, Tally> {
  const once = { sent, arrived: sent, duplicates: 0 }
  return { spans: once, points: once, logs: once }
}
