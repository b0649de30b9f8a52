/** From a place as it is written to the source of truth that a rotation reads and writes. */
import { FileTruth } from './file-truth.ts'
import { notASource, openVault, type PlaceSettings } from './open-source.ts'
import type { Place } from './place.ts'
import type { Truth } from './truth.ts'

/**
 * Makes what reads and writes a place. Touches nothing yet; the client of a remote place is loaded here.
 * @throws {SourceFault} where no token set can be kept there, or its client is not installed.
 */
export async function openTruth(place: Place, settings: PlaceSettings): Promise<Truth> {
  if (place.scheme === 'file') return new FileTruth(place.path, place.text)
  if (place.scheme === 'vault') {
    const { VaultTruth } = await import('./vault/truth.ts')
    return new VaultTruth(await openVault(place, settings), place)
  }
  if (place.scheme === 'aws') {
    const { AwsTruth } = await import('./aws/truth.ts')
    const { AwsSecret } = await import('./aws/secrets.ts')
    return new AwsTruth(await AwsSecret.open(place))
  }
  throw notASource(place)
}
