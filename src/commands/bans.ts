/** `tollgate bans list|add|lift`: asks the running gateway. */
import { parseArgs } from 'node:util'
import type { BanEntry } from '../admin/control.ts'
import { Expected } from '../config/kind.ts'
import { duration } from '../config/quantities.ts'
import { askGateway, NoAnswerError, stateDirFrom } from './ask-gateway.ts'
import { inWords, table } from './table.ts'

/** Exit codes of sysexits.h. */
const EXIT_OK = 0
const EXIT_USAGE = 64
const EXIT_SOFTWARE = 70

const BAN_LENGTH = duration({ min: '1s', max: '3650d' })

const USAGE = `tollgate bans: see and change the bans of the running gateway

  tollgate bans list [--json]               the bans in force
  tollgate bans add ADDRESS [--for 1h]      ban an address (IPv6: its /64), tokens used from there included
  tollgate bans lift ADDRESS                end a ban and forget the address's offences

  --for DURATION       how long, from 1s to 3650d (default: TOLLGATE_BAN_TIME of the gateway)
  --json               JSON instead of a table
  --state-dir DIR      the gateway's state directory (default: TOLLGATE_STATE_DIR, or .tollgate)
`

/** Where a command writes, and what it is told by the environment. */
export interface CommandIo {
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown }
  readonly env: Readonly<Record<string, string | undefined>>
}

/** A wrong command line. */
class UsageError extends Error {
  readonly exitCode = EXIT_USAGE
}

/**
 * `tollgate bans …`; `argv` is what follows `bans`. Resolves to the exit code: 0, 64 for a wrong
 * command line, 69 where no gateway runs, 70 where it failed, 77 where its socket may not be opened.
 * Never rejects.
 */
export async function runBansCommand(argv: readonly string[], io: CommandIo): Promise<number> {
  try {
    io.stdout.write(await run(argv, io.env))
    return EXIT_OK
  } catch (error) {
    const isOurs = error instanceof UsageError || error instanceof NoAnswerError
    io.stderr.write(`tollgate bans: ${error instanceof Error ? error.message : String(error)}\n`)
    return isOurs ? error.exitCode : EXIT_SOFTWARE
  }
}

async function run(argv: readonly string[], env: CommandIo['env']): Promise<string> {
  const { values, positionals } = parse(argv)
  if (values.help) return USAGE
  const [verb = 'list', address, ...rest] = positionals
  if (!['list', 'add', 'lift'].includes(verb)) {
    throw usage(`${JSON.stringify(verb)}: expected list, add or lift`)
  }
  if (verb === 'list' && address !== undefined) throw usage('list takes no address')
  if (rest.length > 0) throw usage(`${JSON.stringify(rest[0])}: expected one address`)
  if (values.for !== undefined && verb !== 'add') throw usage('--for goes with add')

  const stateDir = stateDirFrom(values['state-dir'], env)
  if (verb === 'list') {
    const bans = (await askGateway(stateDir, 'GET', '/bans')).bans as readonly BanEntry[]
    return values.json ? `${JSON.stringify(bans, undefined, 2)}\n` : bansTable(bans)
  }
  if (address === undefined) throw usage(`${verb} needs an address`)
  if (verb === 'lift') {
    const answer = await askGateway(stateDir, 'DELETE', `/bans/${encodeURIComponent(address)}`)
    if (values.json) return `${JSON.stringify(answer)}\n`
    return answer.wasBanned
      ? `${address} is no longer banned.\n`
      : `${address} was not banned; its offences are forgotten.\n`
  }
  const forMs = values.for === undefined ? undefined : banLength(values.for)
  const answer = await askGateway(stateDir, 'POST', '/bans', {
    body: { peer: address, forMs },
  })
  const ban = answer.ban as BanEntry
  if (values.json) return `${JSON.stringify(ban)}\n`
  return `${ban.peerKey} is banned for ${inWords(ban.remainingMs)}.\n`
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        json: { type: 'boolean' },
        for: { type: 'string' },
        'state-dir': { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (error) {
    throw usage(error instanceof Error ? error.message : String(error))
  }
}

function usage(problem: string): UsageError {
  return new UsageError(`${problem}\n\n${USAGE.trimEnd()}`)
}

function banLength(text: string): number {
  const parsed = BAN_LENGTH.parse(text, { cwd: '.' })
  if (parsed instanceof Expected) {
    throw usage(`--for ${JSON.stringify(text)}: expected ${parsed.what}`)
  }
  return parsed
}

function bansTable(bans: readonly BanEntry[]): string {
  if (bans.length === 0) return 'Nobody is banned.\n'
  return table([
    ['ADDRESS', 'LEFT', 'OF', 'BEFORE', 'BY'],
    ...bans.map(({ peerKey, remainingMs, lengthMs, repeats, isManual }) => [
      peerKey,
      inWords(remainingMs),
      inWords(lengthMs),
      String(repeats),
      isManual ? 'hand' : 'strikes',
    ]),
  ])
}
