/** `npm run validate`: checks a deployed Tollgate from the outside. */
import { readArguments, USAGE, UsageError, type Where, type Wish } from './arguments.ts'
import { startBare } from './bare.ts'
import { wordsOf } from './probe.ts'
import { missingPrograms } from './programs.ts'
import { exitCodeOf } from './row.ts'
import { serverTarget, stackTarget } from './server.ts'
import { stackInside } from './stack.ts'
import { chosen, planOf, runChecks } from './suite.ts'
import { jsonOf, tableOf } from './table.ts'
import type { Target } from './target.ts'

const EXIT_USAGE = 64

interface Opened extends AsyncDisposable {
  readonly target: Target
}

async function open(where: Where): Promise<Opened> {
  if (where.mode === 'bare') {
    const missing = missingPrograms(['otelcol', 'prometheus', 'openssl'])
    if (missing.length > 0) throw new UsageError(`--bare: ${missing.join(', ')}`)
    return await startBare()
  }
  const target =
    where.mode === 'server'
      ? await serverTarget(where.server)
      : await stackTarget(where.server, () => stackInside(where.folder))
  return { target, [Symbol.asyncDispose]: async () => {} }
}

/** Runs what is wished for; the table goes to standard output, what it is about to do to the other one. */
async function validate(wish: Wish): Promise<number> {
  let isStopped = false
  // The check that runs is let end, so that whatever it started is cleaned up.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      isStopped = true
      console.error('Stopping after this check.')
    })
  await using opened = await open(wish.where)
  const { target } = opened
  const where = `${target.host} (${target.addresses.join(', ')}), ports ${target.grpcPort} and ${target.httpPort}`
  const checks = chosen(wish.choice)
  console.error(`Going to check ${where}, one after another:`)
  for (const line of planOf(checks, target, wish.leave)) console.error(`  ${line}`)
  console.error('')
  const rows = await runChecks(checks, target, wish.leave, {
    isStopped: () => isStopped,
    begins: (check) => console.error(`${check} …`),
  })
  console.log(wish.isJson ? jsonOf(where, rows) : tableOf(rows, wish.hasCommands))
  return isStopped ? 1 : exitCodeOf(rows, wish.isStrict)
}

try {
  const wish = readArguments(process.argv.slice(2))
  if (wish === undefined) console.log(USAGE)
  else process.exitCode = await validate(wish)
} catch (error) {
  if (error instanceof UsageError) {
    console.error(`${error.message}\n\nnpm run validate -- --help tells how it is used.`)
    process.exitCode = EXIT_USAGE
  } else {
    console.error(wordsOf(error))
    process.exitCode = 1
  }
}
