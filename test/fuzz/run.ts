/**
 * Runs the fuzzers: `npm run fuzz -- [target…] [--seed N] [--runs N] [--seconds N]`. Each run has a
 * seed of its own, and its finding is repeated with `--seed THAT --runs 1`.
 */
import { parseArgs } from 'node:util'
import { Random } from './random.ts'
import { TARGETS } from './targets.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string' },
    runs: { type: 'string' },
    seconds: { type: 'string' },
  },
})
const names = positionals.length === 0 ? Object.keys(TARGETS) : positionals
const firstSeed = Number(values.seed ?? Date.now() % 2 ** 31)
const maxRuns = Number(values.runs ?? Number.POSITIVE_INFINITY)
const seconds = Number(
  values.seconds ?? (values.runs === undefined ? 10 : Number.POSITIVE_INFINITY),
)
/** A run that takes longer than this hangs. */
const HANG_MS = 10_000

let current = ''
process.on('uncaughtException', (error) => {
  console.error(`\nFOUND in ${current}: uncaught\n`, error)
  process.exit(1)
})

for (const name of names) {
  const target = TARGETS[name]
  if (target === undefined)
    throw new RangeError(`no such target: ${name}; there are ${Object.keys(TARGETS)}`)
  const endMs = Date.now() + (seconds * 1000) / names.length
  let runs = 0
  for (; runs < maxRuns && Date.now() < endMs; runs += 1) {
    const seed = firstSeed + runs
    current = `${name} --seed ${seed} --runs 1`
    const startMs = Date.now()
    try {
      await target(new Random(seed))
    } catch (error) {
      console.error(`\nFOUND in ${current}\n`, error)
      process.exit(1)
    }
    if (Date.now() - startMs > HANG_MS) {
      console.error(`\nFOUND in ${current}: took ${Date.now() - startMs} ms`)
      process.exit(1)
    }
  }
  console.log(`${name}: ${runs} runs from seed ${firstSeed}, nothing found`)
}
// Sockets that were closed leave timers behind.
process.exit(0)
