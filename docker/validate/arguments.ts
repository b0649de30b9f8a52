/** The command line: what is looked at, and how much may be done to it. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Expected, orOff } from '../../src/config/kind.ts'
import { count, rate } from '../../src/config/quantities.ts'
import type { Leave } from './check.ts'
import { CHECKS, type Choice } from './suite.ts'
import type { Sources } from './target.ts'

export const USAGE = `Checks a deployed Tollgate from the outside.

  npm run validate -- --host NAME --token-file FILE    a server, politely: some dozen requests
  npm run validate -- --stack --host NAME --token-file FILE    the compose stack on this machine
  npm run validate -- --bare                           gateway, collector and Prometheus started for it

The server
  --host NAME           the name agents call it by, as in its certificate
  --token-file FILE     a token that may export
  --connect ADDRESS     go to this address in place of those of the name; may be repeated
  --grpc-port, --http-port PORT    default 4317 and 4318
  --ca FILE             PEM with the CA, where it is not a public one
  --admin URL           its admin port, such as the end of an ssh tunnel
  --open-port PORT      may be open besides, such as 443; may be repeated
  --rate RATE           what one address may send, default 100/s; off for no limit
  --burst N             default 200
  --strikes N           tries that ban, default 5

How much
  --polite              some dozen requests; without a word so for a server
  --full                load, too: thousands of requests
  --ban-me              guess tokens until the address of this machine is banned
  --i-own-this-server   needed for whatever is more than some dozen requests
  --all-ports           try all 65535 ports in place of those that a stack uses
  --only CHECK, --skip CHECK    may be repeated: ${CHECKS.map(({ name }) => name).join(', ')}

From
  --from ADDRESS, --hasty-address ADDRESS, --agent-address ADDRESS    of this machine: for most
                        requests, for those over the rate, for the honest agent beside an attack

The stack
  --compose FOLDER      of compose.yml and its .env, default docker

Output
  --json                for machines
  --commands            with every row the command that shows it by hand
  --strict              a check that could not be made fails, too

Exit code: 0 all passed, 1 something failed or nothing passed, 64 a mistake in the command line.
`

/** A server by its address. */
export interface ServerWish {
  readonly host: string
  readonly connect: readonly string[]
  readonly grpcPort: number
  readonly httpPort: number
  readonly ca: string | undefined
  readonly token: string
  readonly admin: string | undefined
  readonly openPorts: readonly number[]
  readonly hasAllPorts: boolean
  readonly sources: Sources
  readonly ratePerSecond: number | undefined
  readonly burst: number
  readonly strikes: number
}

export type Where =
  | { readonly mode: 'bare' }
  | { readonly mode: 'server'; readonly server: ServerWish }
  | {
      readonly mode: 'stack'
      readonly server: ServerWish
      /** Of compose.yml. */
      readonly folder: string
    }

export interface Wish {
  readonly where: Where
  readonly leave: Leave
  readonly choice: Choice
  readonly isJson: boolean
  readonly hasCommands: boolean
  readonly isStrict: boolean
}

/** A command line that makes no sense; the message is for the user. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

const TEXT = { type: 'string' } as const
const TEXTS = { type: 'string', multiple: true, default: [] as string[] } as const
const FLAG = { type: 'boolean', default: false } as const
const OPTIONS = {
  host: TEXT,
  'token-file': TEXT,
  connect: TEXTS,
  'grpc-port': { type: 'string', default: '4317' },
  'http-port': { type: 'string', default: '4318' },
  ca: TEXT,
  admin: TEXT,
  'open-port': TEXTS,
  rate: { type: 'string', default: '100/s' },
  burst: { type: 'string', default: '200' },
  strikes: { type: 'string', default: '5' },
  polite: FLAG,
  full: FLAG,
  'ban-me': FLAG,
  'i-own-this-server': FLAG,
  'all-ports': FLAG,
  only: TEXTS,
  skip: TEXTS,
  from: TEXT,
  'hasty-address': TEXT,
  'agent-address': TEXT,
  bare: FLAG,
  stack: FLAG,
  compose: { type: 'string', default: 'docker' },
  json: FLAG,
  commands: FLAG,
  strict: FLAG,
  help: { type: 'boolean', short: 'h', default: false },
} as const

/** Reads the command line; undefined where help is asked for. Throws UsageError. */
export function readArguments(args: readonly string[]): Wish | undefined {
  const values = parsed(args)
  if (values.help) return undefined
  for (const name of [...values.only, ...values.skip])
    if (!CHECKS.some((check) => check.name === name))
      throw new UsageError(
        `there is no check ${JSON.stringify(name)}: expected one of ${CHECKS.map((check) => check.name).join(', ')}`,
      )
  if (values.bare && values.stack) throw new UsageError('--bare and --stack exclude each other')
  if (values.polite && values.full) throw new UsageError('--polite and --full exclude each other')
  const where = whereOf(values)
  const ownsServer = values['i-own-this-server']
  if (where.mode === 'server' && !ownsServer)
    for (const flag of ['full', 'ban-me', 'all-ports'] as const)
      if (values[flag])
        throw new UsageError(
          `--${flag} is more than a handful of requests: say --i-own-this-server as well, if you do`,
        )
  const isPolite = values.polite || (where.mode === 'server' && !values.full)
  return {
    where,
    leave: {
      ownsServer,
      mayLoad: !isPolite,
      mayBan: values['ban-me'] || (where.mode !== 'server' && !isPolite),
    },
    choice: { only: values.only, skip: values.skip },
    isJson: values.json,
    hasCommands: values.commands,
    isStrict: values.strict,
  }
}

type Values = ReturnType<typeof parsed>

function parsed(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, strict: true }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

function whereOf(values: Values): Where {
  if (values.bare) {
    for (const name of ['host', 'token-file', 'admin', 'ca'] as const)
      if (values[name] !== undefined)
        throw new UsageError(`--${name} is of a server, and --bare starts its own`)
    return { mode: 'bare' }
  }
  const server = serverOf(values)
  if (!values.stack) return { mode: 'server', server }
  return { mode: 'stack', server, folder: resolve(values.compose) }
}

function serverOf(values: Values): ServerWish {
  const { host, admin } = values
  if (host === undefined)
    throw new UsageError('--host is missing: the name agents call the server by')
  if (!/^[\w.:-]+$/.test(host))
    throw new UsageError(
      `--host ${JSON.stringify(host)}: expected a name or an address, without scheme or port`,
    )
  if (admin !== undefined && !/^https?:\/\/[^/]+$/.test(admin))
    throw new UsageError(`--admin ${JSON.stringify(admin)}: expected http://HOST:PORT`)
  return {
    host,
    connect: values.connect,
    grpcPort: portOf('grpc-port', values['grpc-port']),
    httpPort: portOf('http-port', values['http-port']),
    ca: caIn(values.ca),
    token: tokenIn(values['token-file']),
    admin,
    openPorts: values['open-port'].map((port) => portOf('open-port', port)),
    hasAllPorts: values['all-ports'],
    sources: {
      visitor: values.from,
      hasty: values['hasty-address'] ?? values.from,
      agent: values['agent-address'],
    },
    ratePerSecond: read('rate', orOff(rate()), values.rate),
    burst: read('burst', count({ min: 1, max: 1_000_000 }), values.burst),
    strikes: read('strikes', count({ min: 1, max: 1_000_000 }), values.strikes),
  }
}

function read<T>(
  name: string,
  kind: { parse(text: string, at: { cwd: string }): T | Expected },
  text: string,
): T {
  const value = kind.parse(text, { cwd: process.cwd() })
  if (value instanceof Expected)
    throw new UsageError(`--${name} ${JSON.stringify(text)}: expected ${value.what}`)
  return value
}

function portOf(name: string, text: string): number {
  return read(name, count({ min: 1, max: 65_535 }), text)
}

function caIn(file: string | undefined): string | undefined {
  if (file === undefined) return undefined
  if (!readText('ca', file).includes('-----BEGIN CERTIFICATE-----'))
    throw new UsageError(`--ca ${file}: expected PEM with a certificate`)
  return resolve(file)
}

function tokenIn(file: string | undefined): string {
  if (file === undefined) throw new UsageError('--token-file is missing: a file with a token in it')
  const text = readText('token-file', file).trim()
  // The content is not shown: it may be a token all the same.
  if (!/^[\x21-\x7e]+$/.test(text))
    throw new UsageError(`--token-file ${file}: expected one token and nothing else`)
  return text
}

function readText(name: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : error
    throw new UsageError(`--${name} ${file}: cannot be read (${code})`)
  }
}
