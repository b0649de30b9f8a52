/**
 * From the configuration to the places that tokens come from, and from what a place says to a token
 * set. Part of the composition root: joins the options, the places and the meaning of their texts.
 */
import { readFile } from 'node:fs/promises'
import type { Config } from './config/config.ts'
import { fileFault } from './secrets/file-fault.ts'
import type { PlaceSettings } from './secrets/open-source.ts'
import { type Place, parsePlace } from './secrets/place.ts'
import type { Version } from './secrets/truth.ts'
import type { VaultLogin } from './secrets/vault/settings.ts'
import { joinTokenSets, parseTokenSet, type TokenSet, TokenSetError } from './stores/token-set.ts'
import { setTextFrom } from './stores/token-text.ts'

/** The options that say how Vault and AWS are reached. */
export type RemoteConfig = Pick<
  Config,
  | 'awsPreviousMs'
  | 'vaultAddr'
  | 'vaultAuthMount'
  | 'vaultCa'
  | 'vaultJwtFile'
  | 'vaultJwtRole'
  | 'vaultNamespace'
  | 'vaultRoleId'
  | 'vaultSecretId'
  | 'vaultToken'
  | 'vaultWrappedSecretId'
>

/** What a place said: the set, and the texts that it can be made of again. */
export interface Content {
  readonly set: TokenSet
  /** Texts of sets, with digests and no token. */
  readonly texts: readonly string[]
  /** What was wrong with versions that were left out, as they do not count first. */
  readonly flaws: readonly string[]
}

/** The places that the token set comes from, each once: `TOLLGATE_TOKENS`, the file, then the others. */
export function tokenPlacesOf(
  config: Pick<Config, 'tokens' | 'tokensFile' | 'tokensSource'>,
): readonly Place[] {
  const texts = new Set([
    ...(config.tokens === undefined ? [] : ['env']),
    ...(config.tokensFile === undefined ? [] : [`file:${config.tokensFile}`]),
    ...config.tokensSource,
  ])
  return [...texts].map((text) => {
    // The name of a file may hold a #, which has no meaning here.
    if (text.startsWith('file:'))
      return { scheme: 'file', path: text.slice('file:'.length), field: undefined, text }
    const place = parsePlace(text)
    if (place === undefined) throw new TypeError(`BUG: ${text} passed the options`)
    return place
  })
}

/** What opening a place needs. @throws {FileFault} where the CA of Vault cannot be read. */
export async function placeSettingsOf(config: RemoteConfig): Promise<PlaceSettings> {
  const { awsPreviousMs, vaultAddr: address, vaultNamespace: namespace, vaultCa } = config
  const login = vaultLoginOf(config)
  if (address === undefined || login === undefined) return { awsPreviousMs }
  const ca = vaultCa === undefined ? undefined : await readCa(vaultCa)
  return { awsPreviousMs, vault: { address, namespace, ca, login } }
}

/**
 * What was read, as a set. A text that is no set is one token, held by the name of the place. The
 * first version has to be good; another that is not is left out. A set that has been replaced is not
 * looked at: it would bring back the tokens that were taken out of it.
 *
 * @throws {TokenSetError} for a text that is neither, and where there is none.
 */
export function contentFrom(versions: readonly Version[], place: Place): Content {
  const texts: string[] = []
  const sets: TokenSet[] = []
  const flaws: string[] = []
  for (const [index, version] of versions.entries()) {
    try {
      const text = setTextOf(version, place)
      if (text === undefined) continue
      sets.push(parseTokenSet(text, place.text))
      texts.push(text)
    } catch (error) {
      if (index === 0 || !(error instanceof TokenSetError)) throw error
      // What has been replaced is nobody's business any more.
      if (version.acceptedUntilMs === undefined) flaws.push(error.message)
    }
  }
  return { set: oneOf(sets, place), texts, flaws }
}

/** What was kept of a place, as a set. @throws {TokenSetError} */
export function keptSetOf(texts: readonly string[], place: Place): TokenSet {
  return oneOf(
    texts.map((text) => parseTokenSet(text, place.text)),
    place,
  )
}

/** What sets have in common is taken from the first. */
function oneOf(sets: readonly TokenSet[], place: Place): TokenSet {
  return { source: place.text, records: joinTokenSets(sets.toReversed()).records }
}

/** The text of a set; undefined for one that has been replaced. */
function setTextOf({ text, acceptedUntilMs }: Version, place: Place): string | undefined {
  if (text === undefined) {
    const problem = 'there is nothing there yet; expected a token set or a token'
    throw new TokenSetError(place.text, [problem])
  }
  const made = setTextFrom(text, place.text, holderOf(place), acceptedUntilMs)
  return acceptedUntilMs !== undefined && made.isSet ? undefined : made.text
}

/** The name of the secret: of an ARN its last part, without what AWS adds. */
function holderOf({ path }: Place): string {
  const [, name = path] =
    /^arn:[^:]*:secretsmanager:[^:]*:[^:]*:secret:(.+)-\w{6}$/.exec(path) ?? []
  return name
}

function vaultLoginOf(config: RemoteConfig): VaultLogin | undefined {
  const { vaultToken, vaultRoleId: roleId, vaultSecretId, vaultWrappedSecretId } = config
  const { vaultJwtFile: file, vaultJwtRole: role, vaultAuthMount: mount } = config
  if (vaultToken !== undefined) return { kind: 'token', token: vaultToken.reveal() }
  if (roleId !== undefined && vaultSecretId !== undefined)
    return { kind: 'approle', roleId, secretId: vaultSecretId.reveal(), mount }
  if (roleId !== undefined && vaultWrappedSecretId !== undefined)
    return { kind: 'approle', roleId, wrappedSecretId: vaultWrappedSecretId.reveal(), mount }
  if (file !== undefined && role !== undefined) return { kind: 'jwt', role, file, mount }
  return undefined
}

async function readCa(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw fileFault(path, 'read', error)
  }
}
