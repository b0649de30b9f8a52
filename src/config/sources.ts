/** Where the texts of options come from: the environment, the command line, and files they point to. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Mistake } from './config-error.ts'
import { nearest } from './nearest.ts'
import { flagOf } from './option.ts'
import { OPTIONS } from './options.ts'

/** The text of an option and how it was given. */
export interface Given {
  readonly text: string
  /** The variable or flag, as the operator wrote it. */
  readonly option: string
  /** Whether the text stood on the command line itself. */
  readonly isFlag: boolean
}

/** What was given, by the name of the variable, and what was wrong with the giving. */
export interface Sources {
  readonly given: ReadonlyMap<string, Given>
  readonly mistakes: readonly Mistake[]
}

const PREFIX = 'TOLLGATE_'
const VARIABLES = new Set<string>(Object.values(OPTIONS).map(({ env }) => env))
/** Variables that hold the path of a file with the value. */
const FILE_VARIABLES = new Map(
  [...VARIABLES]
    .filter((env) => !env.endsWith('_FILE') && !VARIABLES.has(`${env}_FILE`))
    .map((env) => [`${env}_FILE`, env]),
)
const KNOWN = [...VARIABLES, ...FILE_VARIABLES.keys()]
const VARIABLE_OF_FLAG = new Map(KNOWN.map((env) => [flagOf(env), env]))

/**
 * Kubernetes sets variables for every service of a namespace, and for one called `tollgate` they
 * begin with our prefix. They are nobody's mistake.
 */
const SERVICE_LINK =
  /^TOLLGATE(?:_[A-Z0-9]+)*_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)$/
const SERVICE_URL = /^(?:tcp|udp|sctp):\/\//

/**
 * Collects what is given. A flag goes before its variable. An empty variable counts as not given:
 * that is what compose files make of a variable that nobody set.
 */
export function collect(
  env: Readonly<Record<string, string | undefined>>,
  argv: readonly string[],
  cwd: string,
): Sources {
  const mistakes: Mistake[] = []
  const fromEnvironment = new Map<string, Given>()
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith(PREFIX) || text === undefined) continue
    if (!VARIABLES.has(name) && !FILE_VARIABLES.has(name)) {
      if (SERVICE_LINK.test(name) || (name.endsWith('_PORT') && SERVICE_URL.test(text))) continue
      mistakes.push(unknown(PREFIX, name, 'unknown variable', KNOWN))
    } else if (text !== '') {
      fromEnvironment.set(name, { text, option: name, isFlag: false })
    }
  }
  const fromFlags = readFlags(argv, mistakes)
  const given = new Map<string, Given>()
  // Before files are read: what a flag replaces may point anywhere.
  for (const name of fromFlags.keys()) {
    const env = FILE_VARIABLES.get(name) ?? name
    fromEnvironment.delete(env)
    if (FILE_VARIABLES.has(`${env}_FILE`)) fromEnvironment.delete(`${env}_FILE`)
  }
  for (const layer of [fromEnvironment, fromFlags]) {
    for (const [name, value] of resolveFiles(layer, cwd, mistakes)) given.set(name, value)
  }
  return { given, mistakes }
}

function readFlags(argv: readonly string[], mistakes: Mistake[]): Map<string, Given> {
  const given = new Map<string, Given>()
  for (let at = 0; at < argv.length; at += 1) {
    const word = argv[at] ?? ''
    const [, flag, inline] = /^(--[^=]+)(?:=(.*))?$/s.exec(word) ?? []
    if (flag === undefined) {
      // It may be a secret that slipped out of its place: it is not shown.
      mistakes.push({
        option: '',
        message: `argument ${at + 1}: expected an option such as --max-body`,
      })
      continue
    }
    const env = VARIABLE_OF_FLAG.get(flag)
    const following = argv[at + 1]
    const takesFollowing =
      inline === undefined && following !== undefined && !following.startsWith('--')
    if (takesFollowing) at += 1
    const text = inline ?? (takesFollowing ? following : '')
    if (env === undefined) {
      mistakes.push(unknown('--', flag, 'unknown option', VARIABLE_OF_FLAG.keys()))
    } else if (text === '') {
      mistakes.push({ option: flag, message: `${flag}: expected a value after it` })
    } else if (given.has(env)) {
      mistakes.push({ option: flag, message: `${flag}: given twice` })
    } else {
      given.set(env, { text, option: flag, isFlag: true })
    }
  }
  return given
}

function resolveFiles(
  layer: ReadonlyMap<string, Given>,
  cwd: string,
  mistakes: Mistake[],
): Map<string, Given> {
  const resolved = new Map<string, Given>()
  for (const [name, given] of layer) {
    const env = FILE_VARIABLES.get(name)
    if (env === undefined) {
      resolved.set(name, given)
      continue
    }
    const { option, text: path } = given
    const other = layer.get(env)
    if (other !== undefined) {
      mistakes.push({
        option,
        message: `${option}: ${other.option} is given too; expected one of them`,
      })
      continue
    }
    try {
      const text = readFileSync(resolve(cwd, path), 'utf8').replace(/[\r\n]+$/, '')
      if (text === '') throw new Error('the file is empty')
      resolved.set(env, { text, option, isFlag: false })
    } catch (error) {
      mistakes.push({
        option,
        message: `${option}=${JSON.stringify(path)}: expected a file with the value (${reasonOf(error)})`,
      })
    }
  }
  return resolved
}

/** The prefix that all names share says nothing about likeness. */
function unknown(prefix: string, name: string, what: string, known: Iterable<string>): Mistake {
  const candidates = Array.from(known, (candidate) => candidate.slice(prefix.length))
  const near = nearest(name.slice(prefix.length), candidates)
  const hint =
    near === undefined ? 'see tollgate help for all of them' : `did you mean ${prefix}${near}?`
  return { option: name, message: `${name}: ${what}; ${hint}` }
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOENT') return 'there is none'
  if (code === 'EACCES') return 'it may not be read'
  if (code === 'EISDIR') return 'it is a directory'
  return message
}
