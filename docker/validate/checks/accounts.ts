/** What the gateway says of itself on its admin port, where that can be reached. */
import { type Page, parsePage, sumOf } from '../../../test/support/exposition.ts'
import type { Check } from '../check.ts'
import { judged, skipped } from '../row.ts'

const NAME = 'accounts'
const READY = 'it says that it is ready'
const BALANCED = 'every request that came is accounted for'

export function judgeReady(status: number, body: string, byHand: string) {
  return judged(NAME, READY, status === 200, `${status} ${body.trim().slice(0, 100)}`, byHand)
}

/** Arrivals are outcomes and what is in flight. */
export function judgeAccounts(page: Page, byHand: string) {
  const arrivals = sumOf(page, 'tollgate_arrivals_total')
  const outcomes = sumOf(page, 'tollgate_outcomes_total')
  const inFlight = sumOf(page, 'tollgate_in_flight')
  const isGood = page.has('tollgate_arrivals_total') && arrivals === outcomes + inFlight
  const figure = `${arrivals} arrivals, ${outcomes} outcomes, ${inFlight} in flight`
  return judged(NAME, BALANCED, isGood, figure, byHand)
}

export const accountsCheck: Check = {
  name: NAME,
  effort: 'handful',
  programs: [],
  limitSeconds: 30,
  plan: ({ admin }) => (admin === undefined ? 'nothing' : `asks ${admin} twice`),
  async run({ admin }) {
    if (admin === undefined) {
      const why = 'needs --admin, such as the end of ssh -L 9464:127.0.0.1:9464'
      return [skipped(NAME, READY, why), skipped(NAME, BALANCED, why)]
    }
    const ask = (path: string) =>
      fetch(`${admin}${path}`, { redirect: 'error', signal: AbortSignal.timeout(10_000) })
    const ready = await ask('/readyz')
    const metrics = await ask('/metrics')
    return [
      judgeReady(ready.status, await ready.text(), `curl -i ${admin}/readyz`),
      judgeAccounts(parsePage(await metrics.text()), `curl ${admin}/metrics`),
    ]
  },
}
