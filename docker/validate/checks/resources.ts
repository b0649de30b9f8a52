/** Memory and processor of each process or container, beside what limits it. */
import type { Check } from '../check.ts'
import { judged, type Row, skipped } from '../row.ts'
import type { Usage } from '../target.ts'

const NAME = 'resources'
/** Beyond, the next burst may be the end. */
const MOST_SHARE = 0.9
const MIB = 1024 * 1024

/** Every one is limited, and none is near its limit. */
export function judgeUsage(usage: Usage, byHand: string): Row {
  const { name, memoryBytes, memoryLimitBytes, cpuPercent } = usage
  const expected = `${name}: less than 90 % of its memory limit`
  const used = `${Math.round(memoryBytes / MIB)} MiB, ${cpuPercent.toFixed(0)} % of a processor`
  if (memoryLimitBytes === undefined)
    return judged(NAME, expected, false, `${used}, no limit`, byHand)
  const figure = `${used}, limit ${Math.round(memoryLimitBytes / MIB)} MiB`
  return judged(NAME, expected, memoryBytes < memoryLimitBytes * MOST_SHARE, figure, byHand)
}

export const resourcesCheck: Check = {
  name: NAME,
  effort: 'handful',
  programs: [],
  limitSeconds: 60,
  plan: ({ inside }) => (inside === undefined ? 'nothing' : 'reads memory and processor time'),
  async run({ inside }) {
    if (inside === undefined) {
      const why = 'only the server itself can tell; run it there with --stack'
      return [skipped(NAME, 'memory and processor are within their limits', why, 'docker stats')]
    }
    const usage = await inside.usage()
    if (usage.length === 0)
      return [judged(NAME, 'something runs', false, 'nothing was found', inside.usageByHand)]
    return usage.map((each) => judgeUsage(each, inside.usageByHand))
  },
}
