import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Config, parseConfig } from '../config/config.ts'
import { readTextFile } from '../secrets/file-edit.ts'
import { FileTruth } from '../secrets/file-truth.ts'
import { openSource, type PlaceSettings } from '../secrets/open-source.ts'
import type { Place } from '../secrets/place.ts'
import { parseTokenList } from '../stores/token-list.ts'
import { joinTokenSets, parseTokenSet, type TokenSet } from '../stores/token-set.ts'
import { isAccepted, stateOf, type TokenState } from '../stores/token-state.ts'
import { contentFrom, placeSettingsOf, tokenPlacesOf } from '../token-places.ts'
import { lookAtServedCertificates } from './acme-check.ts'
import { lookAtClientAddresses } from './addresses-check.ts'
import { type Look, lookAtGrpc, lookAtHttp } from './collector-check.ts'
import type { CommandIo } from './io.ts'
import { lookAtIssuers } from './issuer-check.ts'
import { mistakeOf } from './mistake.ts'
import { sendThrough, splitSendOptions } from './send-check.ts'

const COLLECTOR_MS = 5000
const SOURCE_MS = 10_000

/** One line of the report. `bad` makes the exit code 1. */
interface Finding {
  readonly level: 'ok' | 'note' | 'bad'
  readonly text: string
}

/**
 * `tollgate check`: looks at everything that `serve` would use, without serving, and says what it
 * finds. Resolves with 0 where all is well and 1 otherwise; throws a `ConfigError` for options that
 * cannot be read at all.
 */
export async function runCheck(argv: readonly string[], io: CommandIo): Promise<number> {
  const { send, rest } = splitSendOptions(argv)
  const config = parseConfig(io.env, rest, { cwd: process.cwd() })
  const findings: Finding[] = [{ level: 'ok', text: 'configuration: every option can be read' }]
  for (const text of config.warnings) findings.push({ level: 'note', text })
  const certificate = await lookAtServedCertificates(config)
  findings.push(...certificate.findings)
  findings.push(...(await lookAtTokens(config)))
  for (const { isGood, words } of await lookAtIssuers(config))
    findings.push({ level: isGood ? 'ok' : 'bad', text: words })
  findings.push(...(await lookAtCollectors(config)))
  const addresses = await lookAtClientAddresses(config.stateDir)
  if (addresses !== undefined) findings.push({ level: 'note', text: addresses })
  if (send.isWanted) {
    const looks = await sendThrough(config, send, certificate.names).catch((error: unknown) => [
      { isGood: false, words: `cannot send: ${wordsOf(error)}` },
    ])
    findings.push(...looks.map((look) => findingOf('front door', look)))
  }
  for (const { level, text } of findings) {
    const mark = { ok: 'ok  ', note: 'note', bad: 'BAD ' }[level]
    io.stdout.write(`${mark}  ${text.replaceAll('\n', '\n      ')}\n`)
  }
  return findings.some(({ level }) => level === 'bad') ? 1 : 0
}

async function lookAtTokens(config: Config): Promise<readonly Finding[]> {
  const given = tokenPlacesOf(config)
  const own = join(config.stateDir, 'tokens.json')
  if (given.length === 0 && config.jwtIssuers.length > 0) return []
  const isFirst = given.length === 0 && (await readTextFile(own)) === undefined
  if (isFirst) {
    const text = `tokens: none yet; the start makes a first one in ${config.stateDir}`
    return [{ level: 'note', text }]
  }
  const places = given.length > 0 ? given : tokenPlacesOf({ ...config, tokensFile: own })
  const settings = placeSettingsOf(config)
  // Told with each place that needs them.
  settings.catch(() => undefined)
  const sets: TokenSet[] = []
  const findings = await Promise.all(
    places.map((place) =>
      inWords('tokens', async () => {
        const set = await setAt(place, config, settings)
        sets.push(set)
        return findingOfSet(set)
      }),
    ),
  )
  // What they say together is only worth a word where each is right by itself.
  if (sets.length < 2 || sets.length < places.length) return findings
  return [...findings, await inWords('tokens', async () => findingOfSet(joinTokenSets(sets)))]
}

async function setAt(
  place: Place,
  config: Config,
  settings: Promise<PlaceSettings>,
): Promise<TokenSet> {
  if (place.scheme === 'env') return parseTokenList(config.tokens?.reveal() ?? '')
  const isFile = place.scheme === 'file'
  const source = isFile ? new FileTruth(place.path) : await openSource(place, await settings)
  try {
    const versions = await source.read(AbortSignal.timeout(SOURCE_MS))
    const [current] = versions
    if (!isFile) return contentFrom(versions, place).set
    if (current?.text === undefined) throw new Error(`there is no file ${place.path}`)
    return parseTokenSet(current.text, place.path)
  } finally {
    await source.close()
  }
}

function findingOfSet({ records, source }: TokenSet): Finding {
  const nowMs = Date.now()
  const counts = new Map<TokenState, number>()
  for (const record of records) {
    const state = stateOf(record, nowMs)
    counts.set(state, (counts.get(state) ?? 0) + 1)
  }
  const states = [...counts].map(([state, count]) => `${count} ${state.replaceAll('_', ' ')}`)
  const level = [...counts.keys()].some(isAccepted) ? 'ok' : 'bad'
  return { level, text: `tokens: ${states.join(', ')} (${source})` }
}

async function lookAtCollectors(config: Config): Promise<readonly Finding[]> {
  const { collectorGrpc, collectorHttp, collectorCa } = config
  if (collectorGrpc.length + collectorHttp.length === 0) {
    return [{ level: 'note', text: 'collector: none given; a sandbox stands in' }]
  }
  let ca: string | undefined
  try {
    ca = collectorCa === undefined ? undefined : await readFile(collectorCa, 'utf8')
  } catch (error) {
    return [{ level: 'bad', text: `CA of the collector: ${wordsOf(error)}` }]
  }
  const looks = [
    ...collectorGrpc.map(async (address) =>
      findingOf(`collector ${address.origin} (gRPC)`, await lookAtGrpc(address, ca, COLLECTOR_MS)),
    ),
    ...collectorHttp.map(async (address) =>
      findingOf(
        `collector ${address.origin}${address.path} (HTTP)`,
        await lookAtHttp(address, ca, COLLECTOR_MS),
      ),
    ),
  ]
  return Promise.all(looks)
}

function findingOf(what: string, { isGood, words }: Look): Finding {
  return { level: isGood ? 'ok' : 'bad', text: `${what}: ${words}` }
}

async function inWords(what: string, look: () => Promise<Finding>): Promise<Finding> {
  try {
    return await look()
  } catch (error) {
    return { level: 'bad', text: `${what}: ${wordsOf(error)}` }
  }
}

/** Our own sentences for the operator's mistakes, Node's for the rest. */
function wordsOf(error: unknown): string {
  const mistake = mistakeOf(error)
  if (mistake !== undefined) return mistake.lines.join('\n')
  return error instanceof Error ? error.message : String(error)
}
