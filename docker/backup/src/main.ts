#!/usr/bin/env node
/** `tollgate-backup`: the command line. */
import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { ConfigError } from '../../../src/config/config-error.ts'
import { backUp, type World } from './backup.ts'
import { chooseBackup, chooseTarget } from './choose.ts'
import { newKey } from './encryption.ts'
import { createLog } from './log.ts'
import { prune } from './prune.ts'
import { check, restore } from './restore.ts'
import { run } from './run.ts'
import { readSettings, SETTING_NAMES } from './settings.ts'
import { TARGET_KINDS, type TargetKind } from './target.ts'
import { targetsOf } from './targets.ts'
import { PARTS } from './unpack.ts'
import { StageFault, said, Unusable } from './unusable.ts'
import { verify } from './verify.ts'
import { alone } from './work.ts'

const HELP = `tollgate-backup: backs up, verifies and restores Prometheus and the gateway's state

  tollgate-backup run                     a backup a day, metrics on TOLLGATE_BACKUP_LISTEN
  tollgate-backup backup                  one backup, now
  tollgate-backup list [--json]           what is kept
  tollgate-backup verify [NAME|latest]    restores to the side, and has every sample read
  tollgate-backup restore [NAME|latest]   verifies, then puts it in place; Prometheus and gateway stopped
      --only prometheus|gateway           one part only
  tollgate-backup check                   asks the restored Prometheus whether all is there
      --drop-old                          and removes what the restore has put aside
  tollgate-backup prune [--dry-run]       removes what need not be kept any more
  tollgate-backup key --out FILE          makes a key; its public half goes into TOLLGATE_BACKUP_RECIPIENTS
  tollgate-backup healthcheck             asks a tollgate-backup that runs here

  --from local|s3   where list, verify, restore and prune look (default: the first that is set up)

Settings are environment variables, each also as …_FILE:
${SETTING_NAMES.map((name) => `  ${name}\n`).join('')}
Exit codes: 0 done, 1 not done, 64 a mistake in command or settings, 65 a backup that must not be used.
`

const OPTIONS = {
  from: { type: 'string' },
  only: { type: 'string' },
  out: { type: 'string' },
  json: { type: 'boolean' },
  'dry-run': { type: 'boolean' },
  'drop-old': { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const

/** Which options a command knows, and how many words may follow it. */
const COMMANDS: Readonly<
  Record<string, { readonly options: readonly string[]; readonly words: number }>
> = {
  run: { options: [], words: 0 },
  backup: { options: [], words: 0 },
  list: { options: ['from', 'json'], words: 0 },
  verify: { options: ['from'], words: 1 },
  restore: { options: ['from', 'only'], words: 1 },
  check: { options: ['drop-old'], words: 0 },
  prune: { options: ['from', 'dry-run'], words: 0 },
  key: { options: ['out'], words: 0 },
  healthcheck: { options: [], words: 0 },
}

/** The command line is wrong. */
class UsageError extends Error {}

async function main(args: readonly string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = parse(args)
  const [command = '', wanted = 'latest'] = positionals
  if (values.help === true || command === 'help' || command === '') {
    process.stdout.write(HELP)
    return command === '' && values.help !== true ? 64 : 0
  }
  if (command === 'key') return await makeKey(values.out)
  const settings = readSettings(process.env)
  if (command === 'healthcheck') return await askHealth(settings.listen)
  const log = createLog(settings.logLevel)
  const world: World = { settings, targets: targetsOf(settings), log, signal }
  const from = oneOf('--from', TARGET_KINDS, values.from)
  const only = oneOf('--only', PARTS, values.only)
  switch (command) {
    case 'run':
      await run(world)
      return 0
    case 'backup': {
      const { name, kept, failures } = await backUp(world)
      if (kept.size > 0) process.stdout.write(`${name.archive}\n`)
      return failures.length === 0 ? 0 : 1
    }
    case 'list':
      return await list(world, from, values.json === true)
    case 'verify': {
      const target = chooseTarget(world.targets, from)
      const name = await chooseBackup(target, wanted)
      const { manifest, findings } = await verify(world, target, name)
      process.stdout.write(
        `${name.archive} is good: ${manifest.totals.files} files, ${manifest.blocks.length} blocks, ${findings.counted} samples read of ${findings.stated} with markers of stale series, ${findings.values} counts as in the manifest\n`,
      )
      return 0
    }
    case 'restore': {
      const target = chooseTarget(world.targets, from)
      const name = await chooseBackup(target, wanted)
      await restore(world, target, name, only)
      process.stdout.write(
        `${name.archive} is in place; start what was stopped, then: tollgate-backup check\n`,
      )
      return 0
    }
    case 'check': {
      const count = await check(world, values['drop-old'] === true)
      process.stdout.write(`Prometheus has what the backup had: ${count} counts compared\n`)
      return 0
    }
    default:
      return await pruneOf(world, from, values['dry-run'] === true)
  }
}

function parse(args: readonly string[]) {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: OPTIONS,
      allowPositionals: true,
    })
    const [command = 'help', ...words] = positionals
    const known = COMMANDS[command]
    if (command !== 'help' && (known === undefined || !Object.hasOwn(COMMANDS, command)))
      throw new Error(
        `${JSON.stringify(command)} is no command; there are ${Object.keys(COMMANDS).join(', ')}`,
      )
    if (words.length > (known?.words ?? 0))
      throw new Error(`${command} does not expect ${JSON.stringify(words.at(-1))}`)
    for (const name of Object.keys(values))
      if (name !== 'help' && !known?.options.includes(name))
        throw new Error(`${command} knows no --${name}`)
    return { values, positionals }
  } catch (error) {
    throw new UsageError(said(error), { cause: error })
  }
}

function oneOf<W extends string>(
  option: string,
  words: readonly W[],
  given: string | undefined,
): W | undefined {
  if (given === undefined) return undefined
  const word = words.find((each) => each === given)
  if (word === undefined)
    throw new UsageError(`${option} ${JSON.stringify(given)}: expected ${words.join(' or ')}`)
  return word
}

async function list(world: World, from: TargetKind | undefined, isJson: boolean): Promise<number> {
  const targets = from === undefined ? world.targets : [chooseTarget(world.targets, from)]
  for (const target of targets) {
    const { kind, where } = target
    const copies = await target.list()
    if (!isJson) process.stdout.write(`${where}:${copies.length === 0 ? ' nothing' : ''}\n`)
    for (const { name, sizeBytes, isWhole } of copies) {
      const made = new Date(name.timeMs).toISOString()
      const { archive } = name
      process.stdout.write(
        isJson
          ? `${JSON.stringify({ target: kind, archive, made, sizeBytes, isWhole })}\n`
          : `  ${archive}  ${sizeBytes} bytes${isWhole ? '' : '  NOT WHOLE'}\n`,
      )
    }
  }
  return 0
}

async function pruneOf(
  world: World,
  from: TargetKind | undefined,
  isDry: boolean,
): Promise<number> {
  const targets = from === undefined ? world.targets : [chooseTarget(world.targets, from)]
  const remove = async () => {
    for (const target of targets)
      for (const { name } of await prune(world, target, isDry))
        process.stdout.write(
          `${isDry ? 'would remove' : 'removed'} ${target.where} ${name.archive}\n`,
        )
  }
  await (isDry ? remove() : alone(world.settings.workDirectory, remove))
  return 0
}

async function makeKey(out: string | undefined): Promise<number> {
  if (out === undefined) throw new UsageError('key needs --out FILE, for the secret half')
  const { file, recipient } = await newKey(Date.now())
  await writeFile(out, file, { flag: 'wx', mode: 0o600 })
  process.stdout.write(`TOLLGATE_BACKUP_RECIPIENTS=${recipient}\n`)
  return 0
}

async function askHealth({ host, port }: World['settings']['listen']): Promise<number> {
  const isAny = host === '::' || host === '0.0.0.0'
  const name = isAny ? 'localhost' : host.includes(':') ? `[${host}]` : host
  const answer = await fetch(`http://${name}:${port}/healthz`, {
    signal: AbortSignal.timeout(4000),
  })
  return answer.ok ? 0 : 1
}

const stopping = new AbortController()
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => stopping.abort(new Error(`stopped by ${signal}`)))

main(process.argv.slice(2), stopping.signal).then(
  (code) => {
    process.exitCode = code
  },
  (error: unknown) => {
    const isOurs =
      error instanceof Unusable || error instanceof StageFault || error instanceof ConfigError
    const isUsage = error instanceof UsageError || error instanceof ConfigError
    const isSystem = error instanceof Error && 'code' in error
    const isStop = stopping.signal.aborted
    const isPlain = isOurs || isUsage || isSystem || isStop
    process.stderr.write(
      `${isPlain ? said(error) : error instanceof Error ? error.stack : error}\n`,
    )
    process.exitCode = isUsage ? 64 : error instanceof Unusable ? 65 : 1
    // A run was asked to stop, and did.
    if (isStop && process.argv[2] === 'run') process.exitCode = 0
  },
)
