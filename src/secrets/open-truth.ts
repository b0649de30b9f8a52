/** From a place as it is written to the source of truth that a rotation reads and writes. */
import { FileTruth } from './file-truth.ts'
import { notASource, type PlaceSettings } from './open-source.ts'
import type { Place } from './place.ts'
import type { Truth } from './truth.ts'

/**
 * Makes what reads and writes a place. Touches nothing yet; the client of a remote place is loaded here.
 * @throws {SourceFault} where no token set can be kept there, or its client is not installed.
 */
export async function openTruth(place: Place, _settings: PlaceSettings): Promise<Truth> {
  if (place.scheme === 'file') return new FileTruth(place.path, place.text)
  throw notASource(place)
}
