/** The command line of `tollgate rotate`, read into what a rotation sets out to do. */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Expected, type Kind, orOff } from '../config/kind.ts'
import { nearest } from '../config/nearest.ts'
import { duration } from '../config/quantities.ts'
import { slugOf } from '../rotation/slug.ts'
import { parsePlace } from '../secrets/place.ts'
import { UsageError } from './token-entry.ts'

const STRING = { type: 'string' } as const
const STRINGS = { type: 'string', multiple: true } as const
const FLAG = { type: 'boolean' } as const
const COMMON = { holder: STRINGS, json: FLAG, 'state-dir': STRING } as const
const RUN = {
  ...COMMON,
  all: FLAG,
  truth: STRING,
  deliver: STRINGS,
  gateway: STRINGS,
  quiet: STRING,
  deadline: STRING,
  'revoke-after': STRING,
  'accept-within': STRING,
  every: STRING,
  wait: FLAG,
  'dry-run': FLAG,
} as const
const ABORT = { ...COMMON, force: FLAG, keep: FLAG } as const

const VERBS = ['status', 'abort', 'history'] as const
type Verb = 'run' | (typeof VERBS)[number]

const TIMES = {
  quiet: duration({ min: '1s', max: '365d' }),
  deadline: orNone(duration({ min: '1s', max: '3650d' })),
  'revoke-after': duration({ min: '0s', max: '365d' }),
  'accept-within': duration({ min: '1s', max: '1d' }),
  every: duration({ min: '1s', max: '3650d' }),
} as const
const DEFAULTS = { quiet: '24h', deadline: '30d', 'revoke-after': '24h', 'accept-within': '5m' }

/** What the command is asked to do. */
export interface RotateOptions {
  readonly verb: Verb
  readonly holders: readonly string[]
  readonly isAll: boolean
  readonly isJson: boolean
  readonly stateDir: string | undefined
  readonly truth: string | undefined
  readonly deliver: readonly string[]
  readonly gateways: readonly string[]
  readonly quietMs: number
  readonly deadlineMs: number | undefined
  readonly revokeAfterMs: number
  readonly acceptWithinMs: number
  readonly everyMs: number | undefined
  readonly isWaiting: boolean
  readonly isDryRun: boolean
  readonly isForced: boolean
  readonly keepsNew: boolean
  /** Names of the options that were given, for telling contradictions. */
  readonly given: ReadonlySet<string>
}

/** @throws {UsageError} naming the option, the value and what was expected. */
export function rotateOptions(argv: readonly string[], cwd: string): RotateOptions {
  const [first] = argv
  const verb = VERBS.find((each) => each === first) ?? 'run'
  if (verb === 'run' && first !== undefined && !first.startsWith('-')) throw unknownVerb(first)
  const table = verb === 'run' ? RUN : verb === 'abort' ? ABORT : COMMON
  const values = parsed(verb === 'run' ? argv : argv.slice(1), table)
  const given = new Set(Object.keys(values))
  const time = (name: keyof typeof TIMES): number | undefined => {
    const text = values[name] ?? (name === 'every' ? undefined : DEFAULTS[name])
    if (text === undefined) return undefined
    const kind: Kind<number | undefined> = TIMES[name]
    const value = kind.parse(text.trim(), { cwd })
    if (value instanceof Expected)
      throw new UsageError(`--${name} ${JSON.stringify(text)}: expected ${value.what}`)
    return value
  }
  const options: RotateOptions = {
    verb,
    holders: [...new Set(values.holder ?? [])],
    isAll: values.all ?? false,
    isJson: values.json ?? false,
    stateDir: values['state-dir'],
    truth: values.truth === undefined ? undefined : placeFrom('--truth', values.truth, cwd),
    deliver: [...new Set(values.deliver ?? [])].map((text) => placeFrom('--deliver', text, cwd)),
    gateways: [...new Set(values.gateway ?? [])].map(gatewayFrom),
    quietMs: time('quiet') ?? 0,
    deadlineMs: time('deadline'),
    revokeAfterMs: time('revoke-after') ?? 0,
    acceptWithinMs: time('accept-within') ?? 0,
    everyMs: time('every'),
    isWaiting: values.wait ?? false,
    isDryRun: values['dry-run'] ?? false,
    isForced: values.force ?? false,
    keepsNew: values.keep ?? false,
    given,
  }
  findContradictions(options)
  return options
}

/** The places of one holder: `{holder}` in them becomes its name, as it can stand in a path. */
export function placesOf(deliver: readonly string[], holder: string): readonly string[] {
  return deliver.map((text) => text.replaceAll('{holder}', slugOf(holder)))
}

/** Two holders must not be given one place: the second's token would replace the first's. */
export function assertPlacesApart(deliver: readonly string[], holders: readonly string[]): void {
  const shared = deliver.find((text) => !text.includes('{holder}') && !text.startsWith('exec:'))
  if (holders.length < 2 || shared === undefined) return
  throw new UsageError(
    `--deliver ${shared}: would take the tokens of ${holders.length} holders, one over the other; write {holder} where their names go`,
  )
}

function findContradictions(options: RotateOptions): void {
  const { quietMs, deadlineMs, isAll, holders, isForced, keepsNew, isWaiting, isDryRun } = options
  if (deadlineMs !== undefined && deadlineMs <= quietMs)
    throw new UsageError(
      '--deadline is not longer than --quiet: the old token would end before anybody can see that it is unused',
    )
  if (isAll && holders.length > 0) throw new UsageError('--all and --holder exclude each other')
  if (isForced && keepsNew) throw new UsageError('--force and --keep exclude each other')
  if (isWaiting && isDryRun) throw new UsageError('--wait and --dry-run exclude each other')
}

interface Values {
  readonly [name: string]: string | boolean | (string | boolean)[] | undefined
}

function parsed(
  args: readonly string[],
  options: Record<string, { type: 'string' | 'boolean'; multiple?: boolean }>,
) {
  for (const arg of args) {
    const [, name] = /^--([^=]+)/.exec(arg) ?? []
    if (name === undefined || Object.hasOwn(options, name)) continue
    const near = nearest(name, Object.keys(options))
    throw new UsageError(
      `--${name}: unknown option${near === undefined ? '' : `; did you mean --${near}?`}`,
    )
  }
  try {
    const { values } = parseArgs({ args: [...args], options, strict: true })
    return values as Values & {
      readonly [Name in keyof typeof RUN | keyof typeof ABORT]?: (typeof RUN &
        typeof ABORT)[Name] extends typeof FLAG
        ? boolean
        : (typeof RUN & typeof ABORT)[Name] extends typeof STRINGS
          ? string[]
          : string
    }
  } catch (error) {
    if (!(error instanceof Error)) throw error
    throw new UsageError(error.message.split('. ')[0] ?? '')
  }
}

/** A place with its path made absolute: later runs may start elsewhere. */
function placeFrom(option: string, text: string, cwd: string): string {
  const place = parsePlace(text)
  if (place === undefined) {
    const hint = /^[./]/.test(text) ? `; a file is written file:${text}` : ''
    throw new UsageError(
      `${option} ${JSON.stringify(text)}: expected a place such as file:/run/agent/token or vault:secret/agents${hint}`,
    )
  }
  const { scheme, path, field } = place
  if (scheme !== 'file' && scheme !== 'exec') return text
  return `${scheme}:${resolve(cwd, path)}${field === undefined ? '' : `#${field}`}`
}

function gatewayFrom(text: string): string {
  if (text === 'local') return text
  const url = URL.parse(text)
  const isRight = url !== null && /^https?:$/.test(url.protocol) && /^https?:\/\//i.test(text)
  if (!isRight || url.username !== '' || url.password !== '' || url.search !== '') {
    // It may hold a password.
    const shown = text.includes('@') ? '' : ` ${JSON.stringify(text)}`
    throw new UsageError(
      `--gateway${shown}: expected the URL of an admin port, such as http://10.0.0.5:9464, or local`,
    )
  }
  return url.href.replace(/\/+$/, '')
}

function unknownVerb(word: string): UsageError {
  const near = nearest(word, VERBS)
  const hint =
    near === undefined ? `expected ${VERBS.join(', ')} or an option` : `did you mean ${near}?`
  return new UsageError(`unknown command ${JSON.stringify(word.slice(0, 40))}; ${hint}`)
}

function orNone(kind: Kind<number>): Kind<number | undefined> {
  const off = orOff(kind)
  return {
    form: off.form,
    parse: (text, where) => (text === 'none' ? undefined : kind.parse(text, where)),
  }
}
