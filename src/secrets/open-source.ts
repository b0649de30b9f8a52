/** From a place as it is written to what reads it. */
import { FileTruth } from './file-truth.ts'
import type { Place } from './place.ts'
import { SourceFault } from './source-fault.ts'
import type { Source } from './truth.ts'
import type { VaultClient } from './vault/client.ts'
import type { VaultSettings } from './vault/settings.ts'

/** What the ways to places need besides the place. */
export interface PlaceSettings {
  /** How Vault is reached; undefined where nobody has said. */
  readonly vault?: VaultSettings | undefined
  /** How long the token of AWSPREVIOUS is accepted after its successor became current. */
  readonly awsPreviousMs: number
}

/** One client for all places that share their settings, as each logs in. */
const vaultClients = new WeakMap<VaultSettings, VaultClient>()

/**
 * Makes what reads a place. Reads nothing yet; the client of a remote place is loaded here.
 * @throws {SourceFault} where no token set can come from there, or its client is not installed.
 */
export async function openSource(place: Place, settings: PlaceSettings): Promise<Source> {
  if (place.scheme === 'file') return new FileTruth(place.path, place.text)
  if (place.scheme === 'vault') {
    const { VaultSource } = await import('./vault/source.ts')
    return new VaultSource(await openVault(place, settings), place)
  }
  if (place.scheme === 'aws') {
    const { AwsSource } = await import('./aws/source.ts')
    return await AwsSource.open(place, { previousMs: settings.awsPreviousMs })
  }
  throw notASource(place)
}

/**
 * The client for places in Vault: one for each settings object.
 * @throws {SourceFault} where the settings do not say how Vault is reached.
 */
export async function openVault(
  place: Place,
  { vault }: Pick<PlaceSettings, 'vault'>,
): Promise<VaultClient> {
  if (vault === undefined) {
    throw new SourceFault(
      place.text,
      'nobody has said where Vault is',
      'set TOLLGATE_VAULT_ADDR and a way to log in',
      { isTemporary: false },
    )
  }
  const known = vaultClients.get(vault)
  if (known !== undefined) return known
  const { VaultClient: Client } = await import('./vault/client.ts')
  const client = vaultClients.get(vault) ?? new Client(vault)
  vaultClients.set(vault, client)
  return client
}

/** The fault of a place that holds no token sets. */
export function notASource(place: Place): SourceFault {
  return new SourceFault(
    place.text,
    'token sets cannot come from there',
    'expected one of file:, vault:, aws:',
    { isTemporary: false },
  )
}
