/** What the options of token sources mean together: contradictions, and what is probably not meant. */
import type { SettingName, Settings } from './options.ts'
import { isInTheClear } from './places.ts'

/** Adds a sentence about an option. */
type Add = (name: SettingName, sentence: string) => void

/** How an option was given: variable or flag. */
type Named = (name: SettingName) => string

/** Whether there is anything that tokens come from. */
export function hasTokens({ tokens, tokensFile, tokensSource, jwtIssuers }: Settings): boolean {
  const places = tokensSource.length + jwtIssuers.length
  return tokens !== undefined || tokensFile !== undefined || places > 0
}

/** Finds everything that cannot be meant. */
export function findSourceMistakes(settings: Settings, named: Named, add: Add): void {
  const { tokensSource: places, tokens, vaultAddr } = settings
  const twin = places.find((place, index) => places.indexOf(place) !== index)
  if (twin !== undefined) add('tokensSource', `${twin} comes twice; expected each place once`)
  if (places.includes('env') && tokens === undefined) {
    add('tokensSource', `env names the tokens of ${named('tokens')}; expected it to be set`)
  }
  const vault = places.find((place) => place.startsWith('vault:'))
  if (vault !== undefined && vaultAddr === undefined) {
    add('tokensSource', `${vault} needs ${named('vaultAddr')}: where Vault is`)
  }
  findLoginMistakes(settings, named, add)
}

function findLoginMistakes(settings: Settings, named: Named, add: Add): void {
  const { vaultRoleId, vaultSecretId, vaultWrappedSecretId, vaultJwtFile, vaultJwtRole } = settings
  const begun = (['vaultToken', 'vaultRoleId', 'vaultJwtFile'] as const).filter(
    (name) => settings[name] !== undefined,
  )
  const [first, second] = begun
  if (first !== undefined && second !== undefined) {
    add(second, `${named(first)} is given too; expected one way to log in to Vault`)
  }
  if (vaultSecretId !== undefined && vaultWrappedSecretId !== undefined) {
    add('vaultWrappedSecretId', `${named('vaultSecretId')} is given too; expected one of them`)
  }
  const secretId = vaultSecretId === undefined ? 'vaultWrappedSecretId' : 'vaultSecretId'
  const hasSecretId = settings[secretId] !== undefined
  if (vaultRoleId !== undefined && !hasSecretId) {
    add(
      'vaultRoleId',
      `expected ${named('vaultSecretId')} or ${named('vaultWrappedSecretId')} as well: a role logs in with both`,
    )
  }
  if (vaultRoleId === undefined && hasSecretId) {
    add(secretId, `expected ${named('vaultRoleId')} as well: a role logs in with both`)
  }
  if ((vaultJwtFile === undefined) !== (vaultJwtRole === undefined)) {
    const [here, missing] =
      vaultJwtRole === undefined
        ? (['vaultJwtFile', 'vaultJwtRole'] as const)
        : (['vaultJwtRole', 'vaultJwtFile'] as const)
    add(here, `expected ${named(missing)} as well: the file and the role go together`)
  }
  const hasLogin = begun.length > 0 || hasSecretId || vaultJwtRole !== undefined
  if (settings.vaultAddr !== undefined && !hasLogin) {
    add(
      'vaultAddr',
      `no way to log in; expected ${named('vaultToken')}, ${named('vaultRoleId')} or ${named('vaultJwtFile')} as well`,
    )
  }
}

/** Finds what works but is probably not meant. */
export function findSourceWarnings(settings: Settings, named: Named): string[] {
  const warnings: string[] = []
  const { vaultAddr, vaultCa, vaultAuthMount, vaultRoleId, vaultJwtFile } = settings
  if (vaultAddr !== undefined && isInTheClear(vaultAddr)) {
    warnings.push(
      `${named('vaultAddr')} begins with http://: what this gateway logs in with, and the tokens, travel in the clear`,
    )
  }
  if (vaultCa !== undefined && vaultAddr?.startsWith('http://') === true) {
    warnings.push(`${named('vaultCa')} is not used: ${named('vaultAddr')} begins with http://`)
  }
  if (vaultAuthMount !== undefined && vaultRoleId === undefined && vaultJwtFile === undefined) {
    warnings.push(
      `${named('vaultAuthMount')} is not used: it belongs to ${named('vaultRoleId')} and ${named('vaultJwtFile')}`,
    )
  }
  const given = (['vaultToken', 'vaultRoleId', 'vaultJwtFile'] as const).find(
    (name) => settings[name] !== undefined,
  )
  if (vaultAddr === undefined && given !== undefined) {
    warnings.push(`${named(given)} is not used without ${named('vaultAddr')}`)
  }
  return warnings
}
