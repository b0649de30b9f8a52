/** The settings of the backup tool, read from its environment. */
import { readFileSync } from 'node:fs'
import { type ListenAddress, listenAddress } from '../../../src/config/addresses.ts'
import { ConfigError, type Mistake } from '../../../src/config/config-error.ts'
import { Expected, type Kind, orOff } from '../../../src/config/kind.ts'
import { nearest } from '../../../src/config/nearest.ts'
import { serverUrl } from '../../../src/config/places.ts'
import { count, duration, size } from '../../../src/config/quantities.ts'
import type { Secret } from '../../../src/config/secret.ts'
import { oneOf, path, secret } from '../../../src/config/words.ts'
import { clockTime, type Owner, owner, recipients, s3Name, s3Prefix } from './kinds.ts'

const PREFIX = 'TOLLGATE_BACKUP_'
const MAX_FILE_BYTES = 65_536

interface Row<T> {
  readonly kind: Kind<T>
  /** As it would be written; undefined for none. */
  readonly standard?: string
  readonly isSecret?: boolean
}

function row<T>(kind: Kind<T>, standard?: string): Row<T> {
  return standard === undefined ? { kind } : { kind, standard }
}

function secretRow(form: string): Row<Secret> {
  return { kind: secret(form), isSecret: true }
}

const ROWS = {
  DIR: row(orOff<string, undefined>(path())),
  RECIPIENTS: row(recipients()),
  PASSPHRASE: secretRow('passphrase'),
  IDENTITY: secretRow('age secret key'),
  S3_BUCKET: row(s3Name()),
  S3_PREFIX: row(s3Prefix(), 'tollgate/'),
  S3_ENDPOINT: row(serverUrl('https://s3.example.com')),
  S3_REGION: row(s3Name(), 'us-east-1'),
  S3_PATH_STYLE: row(oneOf('on', 'off')),
  S3_ACCESS_KEY_ID: secretRow('access key'),
  S3_SECRET_ACCESS_KEY: secretRow('secret key'),
  AT: row(clockTime(), '03:15'),
  VERIFY_EVERY: row(orOff<number, undefined>(duration({ min: '1h', max: '90d' })), '7d'),
  KEEP_DAYS: row(count({ min: 1, max: 36_500 }), '30'),
  KEEP_DAILY: row(count({ min: 0, max: 36_500 }), '0'),
  KEEP_WEEKLY: row(count({ min: 0, max: 5000 }), '0'),
  KEEP_MONTHLY: row(count({ min: 0, max: 1200 }), '0'),
  MIN_FREE: row(size({ min: '0B', max: '1000GiB' }), '256MiB'),
  PROMETHEUS_URL: row(serverUrl('http://prometheus:9090'), 'http://prometheus:9090'),
  PROMETHEUS_DIR: row(path(), '/prometheus'),
  PROMETHEUS_BINARY: row(program(), 'prometheus'),
  PROMETHEUS_OWNER: row(owner(), '65534:65534'),
  GATEWAY_DIR: row(orOff<string, undefined>(path()), '/var/lib/tollgate'),
  GATEWAY_OWNER: row(owner(), '65532:65532'),
  WORK_DIR: row(path(), '/work'),
  LISTEN: row(listenAddress(), '[::]:9466'),
  LOG_LEVEL: row(oneOf('debug', 'info', 'warn', 'error'), 'info'),
} as const satisfies Record<string, Row<unknown>>

/** The names of all settings, without `_FILE`. */
export const SETTING_NAMES: readonly string[] = Object.keys(ROWS).map((key) => `${PREFIX}${key}`)

/** Where copies go in a bucket. */
export interface S3Settings {
  readonly bucket: string
  /** Ends with `/`, or is empty. */
  readonly prefix: string
  /** Undefined for AWS itself. */
  readonly endpoint: string | undefined
  readonly region: string
  readonly isPathStyle: boolean
  /** Undefined where the SDK is to find them by itself. */
  readonly credentials: { readonly id: Secret; readonly key: Secret } | undefined
}

/** How long copies are kept. Counts of 0 keep nothing by that rule. */
export interface KeepSettings {
  readonly days: number
  readonly daily: number
  readonly weekly: number
  readonly monthly: number
}

export interface Settings {
  /** Undefined for no local copies. */
  readonly directory: string | undefined
  readonly s3: S3Settings | undefined
  readonly recipients: readonly string[]
  readonly passphrase: Secret | undefined
  readonly identity: Secret | undefined
  /** Minutes since midnight, UTC. */
  readonly atMinutes: number
  /** Undefined for never. */
  readonly verifyEveryMs: number | undefined
  readonly keep: KeepSettings
  readonly minFreeBytes: number
  readonly prometheusUrl: string
  readonly prometheusDirectory: string
  readonly prometheusProgram: string
  readonly prometheusOwner: Owner
  /** Undefined where the gateway's state is left out. */
  readonly gatewayDirectory: string | undefined
  readonly gatewayOwner: Owner
  readonly workDirectory: string
  readonly listen: ListenAddress
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error'
}

type Values = {
  [K in keyof typeof ROWS]: (typeof ROWS)[K] extends Row<infer T> ? T | undefined : never
}

/**
 * Reads the settings.
 *
 * @throws {ConfigError} with all mistakes at once, each with its name, its value and what was expected.
 */
export function readSettings(env: NodeJS.ProcessEnv, cwd = process.cwd()): Settings {
  const mistakes: Mistake[] = unknownOnes(env)
  const values: Record<string, unknown> = {}
  for (const [key, { kind, standard, isSecret }] of Object.entries(ROWS) as [
    string,
    Row<unknown>,
  ][]) {
    const name = `${PREFIX}${key}`
    const given = textOf(env, name, mistakes)
    const text = given ?? standard
    if (text === undefined) continue
    const value = kind.parse(text, { cwd })
    if (!(value instanceof Expected)) values[key] = value
    else {
      const shown = isSecret || value.hidesValue ? '' : ` is ${JSON.stringify(text)}`
      mistakes.push({ option: name, message: `${name}${shown}: expected ${value.what}` })
    }
  }
  const read = values as Values
  mistakes.push(...rulesOver(read, env))
  if (mistakes.length > 0) throw new ConfigError(mistakes)
  return settingsOf(read)
}

function settingsOf(read: Values): Settings {
  const must = <T>(value: T | undefined): T => {
    if (value === undefined) throw new Error('a setting with a default has none')
    return value
  }
  const { S3_ACCESS_KEY_ID: id, S3_SECRET_ACCESS_KEY: key } = read
  const s3 =
    read.S3_BUCKET === undefined
      ? undefined
      : {
          bucket: read.S3_BUCKET,
          prefix: must(read.S3_PREFIX),
          endpoint: read.S3_ENDPOINT,
          region: must(read.S3_REGION),
          isPathStyle:
            (read.S3_PATH_STYLE ?? (read.S3_ENDPOINT === undefined ? 'off' : 'on')) === 'on',
          credentials: id !== undefined && key !== undefined ? { id, key } : undefined,
        }
  return {
    directory: read.DIR,
    s3,
    recipients: read.RECIPIENTS ?? [],
    passphrase: read.PASSPHRASE,
    identity: read.IDENTITY,
    atMinutes: must(read.AT),
    verifyEveryMs: read.VERIFY_EVERY,
    keep: {
      days: must(read.KEEP_DAYS),
      daily: must(read.KEEP_DAILY),
      weekly: must(read.KEEP_WEEKLY),
      monthly: must(read.KEEP_MONTHLY),
    },
    minFreeBytes: must(read.MIN_FREE),
    prometheusUrl: must(read.PROMETHEUS_URL),
    prometheusDirectory: must(read.PROMETHEUS_DIR),
    prometheusProgram: must(read.PROMETHEUS_BINARY),
    prometheusOwner: must(read.PROMETHEUS_OWNER),
    gatewayDirectory: read.GATEWAY_DIR,
    gatewayOwner: must(read.GATEWAY_OWNER),
    workDirectory: must(read.WORK_DIR),
    listen: must(read.LISTEN),
    logLevel: must(read.LOG_LEVEL),
  }
}

/** What no setting alone can get wrong. */
function rulesOver(read: Values, env: NodeJS.ProcessEnv): Mistake[] {
  const found: Mistake[] = []
  const say = (key: string, words: string) =>
    found.push({ option: `${PREFIX}${key}`, message: `${PREFIX}${key}${words}` })
  const isGiven = (key: string) =>
    env[`${PREFIX}${key}`] !== undefined || env[`${PREFIX}${key}_FILE`] !== undefined
  if (read.DIR === undefined && read.S3_BUCKET === undefined && !isGiven('S3_BUCKET'))
    say('DIR', ` and ${PREFIX}S3_BUCKET are not set: expected at least one place for copies`)
  if (read.RECIPIENTS !== undefined && read.RECIPIENTS.length > 0 && read.PASSPHRASE !== undefined)
    say('PASSPHRASE', ` and ${PREFIX}RECIPIENTS are both set: expected one of them`)
  if ((read.S3_ACCESS_KEY_ID === undefined) !== (read.S3_SECRET_ACCESS_KEY === undefined))
    say(
      'S3_ACCESS_KEY_ID',
      ` and ${PREFIX}S3_SECRET_ACCESS_KEY belong together: expected both or none`,
    )
  if (!isGiven('S3_BUCKET'))
    for (const key of Object.keys(ROWS))
      if (key.startsWith('S3_') && key !== 'S3_BUCKET' && isGiven(key))
        say(key, ` is set without ${PREFIX}S3_BUCKET: expected the name of a bucket there`)
  return found
}

function unknownOnes(env: NodeJS.ProcessEnv): Mistake[] {
  const known = SETTING_NAMES.flatMap((name) => [name, `${name}_FILE`])
  return Object.keys(env)
    .filter((name) => name.startsWith(PREFIX) && !known.includes(name))
    .map((name) => {
      const meant = nearest(name, known)
      const hint = meant === undefined ? '' : `; did you mean ${meant}?`
      return { option: name, message: `${name}: there is no such setting${hint}` }
    })
}

function textOf(env: NodeJS.ProcessEnv, name: string, mistakes: Mistake[]): string | undefined {
  const value = env[name]
  const file = env[`${name}_FILE`]
  const given = value === undefined || value === '' ? undefined : value
  if (file === undefined || file === '') return given
  const option = `${name}_FILE`
  if (given !== undefined) {
    mistakes.push({ option, message: `${name} and ${option} are both set: expected one of them` })
    return undefined
  }
  try {
    const text = readFileSync(file, 'utf8')
    if (text.length > MAX_FILE_BYTES) throw new Error('is longer than 64 kB')
    const trimmed = text.replace(/\s+$/, '')
    if (trimmed === '') throw new Error('is empty')
    return trimmed
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    mistakes.push({
      option,
      message: `${option} is ${JSON.stringify(file)}: expected a file that can be read (${why})`,
    })
    return undefined
  }
}

/** A program by its path, or by its name alone to be found on PATH. */
function program(): Kind<string> {
  const paths = path()
  return { form: 'path', parse: (text, at) => (text.includes('/') ? paths.parse(text, at) : text) }
}
