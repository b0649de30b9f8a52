import type { Rate } from '../pipeline/ports.ts'
import { findAcmeMistakes } from './acme-rules.ts'
import { isLoopback } from './addresses.ts'
import { ConfigError, type Mistake } from './config-error.ts'
import { findJwtMistakes } from './jwt-rules.ts'
import { Expected, type Kind, type Surroundings } from './kind.ts'
import { flagOf } from './option.ts'
import { OPTIONS, type SettingName, type Settings } from './options.ts'
import { collect, type Given } from './sources.ts'
import { findTlsMistakes, findTlsWarnings } from './tls-rules.ts'
import { findSourceMistakes, findSourceWarnings, hasTokens } from './token-source-rules.ts'

/** Settings that come in pairs in the table and go into one budget each. */
type Halves = 'rate' | 'burst' | 'bytes' | 'tokenRate' | 'tokenBurst' | 'tokenBytesPerSecond'

/** The whole configuration, checked and frozen. Field names carry their units; undefined stands for `off` and for what was not given. */
export interface Config extends Omit<Settings, Halves> {
  /** A peer's requests: `TOLLGATE_RATE` and `TOLLGATE_BURST`. */
  readonly peerRequests: Rate | undefined
  /** A peer's bytes. The burst is one second's worth, and at least the largest message. */
  readonly peerBytes: Rate | undefined
  /** A token's requests, where the token set does not say otherwise. */
  readonly tokenRequests: Rate | undefined
  /** A token's bytes; burst as in `peerBytes`. */
  readonly tokenBytes: Rate | undefined
  /** Neither a collector nor tokens are configured: a sandbox stands in for both. */
  readonly isSandbox: boolean
  /** What works but is probably not meant, a sentence each. */
  readonly warnings: readonly string[]
}

/**
 * Reads the configuration from the environment and the flags of the command line (a flag goes
 * before its variable). Relative paths start at `cwd`. Throws a `ConfigError` with every mistake.
 */
export function parseConfig(
  env: Readonly<Record<string, string | undefined>>,
  argv: readonly string[],
  surroundings: Surroundings,
): Config {
  const { given, mistakes: sourceMistakes } = collect(env, argv, surroundings.cwd)
  const mistakes: Mistake[] = [...sourceMistakes]
  const values: Record<string, unknown> = {}
  for (const [name, option] of Object.entries(OPTIONS)) {
    const source = given.get(option.env)
    const text = source?.text ?? option.default
    if (text === undefined) {
      values[name] = option.unset
      continue
    }
    const kind: Kind<unknown> = option.kind
    const parsed = kind.parse(text.trim(), surroundings)
    if (parsed instanceof Expected) {
      mistakes.push(mistakeOf(source?.option ?? option.env, text, parsed, option.isSecret))
    } else {
      values[name] = parsed
    }
  }
  // Comparisons between options make sense only once each is right by itself.
  if (mistakes.length > 0) throw new ConfigError(mistakes)
  const settings = values as Settings
  const named = (name: SettingName) => given.get(OPTIONS[name].env)?.option ?? OPTIONS[name].env
  const contradictions = findContradictions(settings, given, named)
  if (contradictions.length > 0) throw new ConfigError(contradictions)
  return compose(settings, findWarnings(settings, given, named))
}

function mistakeOf(option: string, text: string, expected: Expected, isSecret: boolean): Mistake {
  const { what, hidesValue } = expected
  const shown = isSecret || hidesValue ? '' : `=${JSON.stringify(shorten(text))}`
  return { option, message: `${option}${shown}: expected ${what}` }
}

function shorten(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 79)}…`
}

function findContradictions(
  settings: Settings,
  given: ReadonlyMap<string, Given>,
  named: (name: SettingName) => string,
): Mistake[] {
  const mistakes: Mistake[] = []
  const add = (name: SettingName, message: string) => {
    const option = named(name)
    mistakes.push({ option, message: `${option}: ${message}` })
  }
  const { grpcListen, httpListen, tls, trustedProxies, clientAddress } = settings
  if (grpcListen === undefined && httpListen === undefined) {
    add(
      'grpcListen',
      `both public ports are off; expected ${named('httpListen')} or this one to be an address`,
    )
  }
  if (
    grpcListen !== undefined &&
    grpcListen.port !== 0 &&
    grpcListen.port === httpListen?.port &&
    grpcListen.host === httpListen.host
  ) {
    add(
      'httpListen',
      `the same address as ${named('grpcListen')}; expected another, or off: one port takes both protocols`,
    )
  }
  const open = [grpcListen, httpListen].filter((at) => at !== undefined && !isLoopback(at.host))
  if (tls === 'off' && open.length > 0 && trustedProxies.length === 0) {
    add(
      'tls',
      `off would send tokens over the network in the clear; expected on, or ${named('trustedProxies')} to name the proxy in front that speaks TLS, or public ports on 127.0.0.1`,
    )
  }
  if (clientAddress !== 'socket' && trustedProxies.length === 0) {
    add(
      'clientAddress',
      `${clientAddress} needs ${named('trustedProxies')}: anybody else could write any address`,
    )
  }
  if (!hasCollector(settings) && hasTokens(settings)) {
    add(
      'collectorGrpc',
      `tokens are configured but no collector; expected a URL here or in ${named('collectorHttp')}`,
    )
  }
  findTlsMistakes(settings, named, add)
  findAcmeMistakes(settings, named, add)
  findSourceMistakes(settings, named, add)
  findJwtMistakes(settings, named, add)
  if (settings.maxBodyBytes > settings.maxInFlightBytes) {
    add(
      'maxInFlightBytes',
      `less than ${named('maxBodyBytes')}; expected room for one message at least`,
    )
  }
  if (settings.tokenRate === undefined && settings.tokenBurst !== undefined) {
    add('tokenBurst', `a burst without a rate; expected ${named('tokenRate')} as well`)
  }
  if (settings.rate === undefined && given.has(OPTIONS.burst.env)) {
    add('burst', `a burst without a rate; expected ${named('rate')} not to be off`)
  }
  return mistakes
}

function findWarnings(
  settings: Settings,
  given: ReadonlyMap<string, Given>,
  named: (name: SettingName) => string,
): string[] {
  const warnings: string[] = []
  const { holdMs, drainMs } = settings
  if (holdMs > 0 && holdMs >= drainMs) {
    warnings.push(
      `${named('holdMs')} is not shorter than ${named('drainMs')}: requests that wait may be cut off when the gateway stops`,
    )
  }
  warnings.push(...findTlsWarnings(settings, named))
  warnings.push(...findSourceWarnings(settings, named))
  for (const option of Object.values(OPTIONS)) {
    if (option.isSecret && given.get(option.env)?.isFlag === true) {
      warnings.push(
        `${flagOf(option.env)}: other users of this machine see it in the list of processes; ${option.env} does not show there`,
      )
    }
  }
  return warnings
}

function hasCollector({ collectorGrpc, collectorHttp }: Settings): boolean {
  return collectorGrpc.length > 0 || collectorHttp.length > 0
}

function compose(settings: Settings, warnings: readonly string[]): Config {
  const { rate, burst, bytes, tokenRate, tokenBurst, tokenBytesPerSecond, ...rest } = settings
  const byteBudget = (perSecond: number | undefined): Rate | undefined =>
    perSecond === undefined
      ? undefined
      : Object.freeze({ perSecond, burst: Math.max(perSecond, settings.maxBodyBytes) })
  return Object.freeze({
    ...rest,
    peerRequests: rate === undefined ? undefined : Object.freeze({ perSecond: rate, burst }),
    peerBytes: byteBudget(bytes),
    tokenRequests:
      tokenRate === undefined
        ? undefined
        : Object.freeze({
            perSecond: tokenRate,
            burst: tokenBurst ?? Math.max(1, Math.ceil(tokenRate * 2)),
          }),
    tokenBytes: byteBudget(tokenBytesPerSecond),
    isSandbox: !hasCollector(settings) && !hasTokens(settings),
    warnings: Object.freeze([...warnings]),
  })
}
