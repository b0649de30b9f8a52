/** What a running gateway says of itself on its metrics page, and what must hold of it at all times. */
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { type Page, parsePage, sumOf } from './exposition.ts'

/** Fetches and reads the page of a gateway's admin port. */
export async function readMetrics(admin: string): Promise<Page> {
  const answer = await fetch(`http://${admin}/metrics`)
  assert.equal(answer.status, 200)
  return parsePage(await answer.text())
}

/** Every request that came is accounted for: arrivals = outcomes + in flight. */
export function assertBalanced(page: Page): void {
  assert.equal(
    sumOf(page, 'tollgate_arrivals_total'),
    sumOf(page, 'tollgate_outcomes_total') + sumOf(page, 'tollgate_in_flight'),
    'arrivals = outcomes + in flight',
  )
}

/** Requests by outcome, over protocols and signals; outcomes that did not occur are left out. */
export function outcomesOf(page: Page): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { labels, value } of page.get('tollgate_outcomes_total') ?? []) {
    const outcome = labels.outcome ?? ''
    if (value > 0) counts[outcome] = (counts[outcome] ?? 0) + value
  }
  return counts
}

/**
 * Reads the page until something is true of it. What it waits for is the end of work that has
 * already been asked for; after ten seconds it never will be, and the test fails with what was read.
 */
export async function untilMetrics(
  read: () => Promise<Page>,
  isTrue: (page: Page) => boolean,
  what: string,
): Promise<Page> {
  const giveUpMs = performance.now() + 10_000
  for (;;) {
    const page = await read()
    if (isTrue(page)) return page
    if (performance.now() > giveUpMs) {
      assert.fail(`the metrics never showed ${what}: ${JSON.stringify(outcomesOf(page))}`)
    }
    await pause(10)
  }
}

/** Nothing is under way: no call, no byte held, no connection. */
export function isQuiet(page: Page): boolean {
  return ['tollgate_in_flight', 'tollgate_held', 'tollgate_in_flight_bytes', 'tollgate_connections']
    .map((name) => sumOf(page, name))
    .every((value) => value === 0)
}
