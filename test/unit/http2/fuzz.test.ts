/** A fixed share of the fuzzers of test/fuzz, with seeds that never change. */
import { describe, it } from 'node:test'
import { Random } from '../../fuzz/random.ts'
import { TARGETS } from '../../fuzz/targets.ts'

const RUNS = 2500

describe('fuzzing', () => {
  for (const [name, target] of Object.entries(TARGETS)) {
    it(`${name}: nothing in ${RUNS} runs`, async () => {
      for (let seed = 1; seed <= RUNS; seed += 1) {
        try {
          await target(new Random(seed))
        } catch (cause) {
          throw new Error(`found: npm run fuzz -- ${name} --seed ${seed} --runs 1`, { cause })
        }
      }
    })
  }
})
