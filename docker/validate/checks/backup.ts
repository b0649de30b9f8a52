/** The drill: a backup that is verified by a Prometheus started on what was restored from it. */
import type { Check } from '../check.ts'
import { wordsOf } from '../probe.ts'
import { judged, skipped } from '../row.ts'

const NAME = 'backup'
const EXPECTED = 'a backup is made, and what is restored from it has every sample'

export const backupCheck: Check = {
  name: NAME,
  effort: 'handful',
  programs: [],
  limitSeconds: 300,
  plan: ({ inside }) =>
    inside?.backup === undefined ? 'nothing' : 'makes one backup, and verifies it',
  async run({ inside }) {
    const drill = inside?.backup
    if (drill === undefined) {
      const why =
        inside === undefined
          ? 'only the server itself can; see docs/backup.md'
          : 'the backup tool is not set up here'
      return [skipped(NAME, EXPECTED, why, 'docker compose run --rm backup verify')]
    }
    try {
      const steps = await drill.run()
      return [judged(NAME, EXPECTED, steps.length > 0, steps.join('; '), drill.byHand)]
    } catch (error) {
      return [judged(NAME, EXPECTED, false, wordsOf(error), drill.byHand)]
    }
  },
}
