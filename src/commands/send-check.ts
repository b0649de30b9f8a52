/** `tollgate check --send`: one of each signal through the front door of the running gateway. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Config } from '../config/config.ts'
import { ConfigError } from '../config/config-error.ts'
import { readTextFile } from '../secrets/file-edit.ts'
import { pairPlacesOf } from '../tls/pair-place.ts'
import type { Look } from './collector-check.ts'

const SEND_MS = 10_000

const OWN_FLAGS = new Set(['send', 'send-host', 'send-ca', 'send-token-file'])

/** What is wanted besides the options of the configuration. */
export interface SendOptions {
  readonly isWanted: boolean
  /** The name by which agents call the gateway. */
  readonly host: string | undefined
  readonly caPath: string | undefined
  readonly tokenPath: string | undefined
}

/** Takes `--send …` out of the command line. Throws a `ConfigError` where one lacks its value. */
export function splitSendOptions(argv: readonly string[]): {
  readonly send: SendOptions
  readonly rest: readonly string[]
} {
  const own: string[] = []
  const rest: string[] = []
  for (let at = 0; at < argv.length; at += 1) {
    const word = argv[at] ?? ''
    const [name = '', inline] = word.startsWith('--') ? word.slice(2).split('=', 2) : []
    const target = OWN_FLAGS.has(name) ? own : rest
    target.push(word)
    const following = argv[at + 1]
    if (target === own && name !== 'send' && inline === undefined && following !== undefined) {
      own.push(following)
      at += 1
    }
  }
  return { send: readSendOptions(own), rest }
}

function readSendOptions(args: string[]): SendOptions {
  const string = { type: 'string' } as const
  try {
    const { values } = parseArgs({
      args,
      options: {
        send: { type: 'boolean' },
        'send-host': string,
        'send-ca': string,
        'send-token-file': string,
      },
    })
    return {
      isWanted: args.length > 0,
      host: values['send-host'],
      caPath: values['send-ca'],
      tokenPath: values['send-token-file'],
    }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new ConfigError([{ option: '--send', message }])
  }
}

/** Sends, and says for each signal and protocol what became of it. */
export async function sendThrough(
  config: Config,
  send: SendOptions,
  certificateNames: readonly string[],
): Promise<readonly Look[]> {
  const token = await findToken(config, send)
  if (token === undefined) {
    const words = 'no token in plain to send with; expected --send-token-file FILE'
    return [{ isGood: false, words }]
  }
  const { grpcListen, httpListen } = config
  const grpcPort = grpcListen?.port ?? httpListen?.port ?? 0
  const httpPort = httpListen?.port ?? grpcPort
  if (grpcPort === 0 || httpPort === 0) {
    return [
      { isGood: false, words: 'cannot send: port 0 is any free port, and this is another process' },
    ]
  }
  const host = send.host ?? nameIn(certificateNames) ?? 'localhost'
  const isDevelopment = config.tls === 'on' && pairPlacesOf(config).length === 0
  const caPath = send.caPath ?? (isDevelopment ? join(config.stateDir, 'ca.pem') : undefined)
  const { sendOneOfEach } = await import('../upstream/self-check.ts')
  const results = await sendOneOfEach({
    grpcTarget: `${host}:${grpcPort}`,
    httpOrigin: `${config.tls === 'on' ? 'https' : 'http'}://${host}:${httpPort}`,
    token,
    caPem: caPath === undefined ? undefined : await readFile(caPath, 'utf8'),
    timeoutMs: SEND_MS,
  })
  return results.map(({ ok, protocol, signal, words }) => ({
    isGood: ok,
    words: `${signal} over ${protocol} to ${host}: ${words}`,
  }))
}

async function findToken(config: Config, { tokenPath }: SendOptions): Promise<string | undefined> {
  if (tokenPath !== undefined) return (await readFile(tokenPath, 'utf8')).trim()
  const { tokens, tokensFile, tokensSource, stateDir } = config
  const [first] = tokens?.reveal().split(',') ?? []
  if (first !== undefined) return first.slice(first.indexOf('=') + 1).trim()
  // A token file holds digests only; the first token that a start makes is kept in plain.
  if (tokensFile !== undefined || tokensSource.length > 0) return undefined
  return (await readTextFile(join(stateDir, 'token')))?.trim()
}

/** A name of the certificate that a client could use: the first that is no wildcard. */
function nameIn(names: readonly string[]): string | undefined {
  return names.find((name) => name.startsWith('DNS:') && !name.includes('*'))?.slice('DNS:'.length)
}
