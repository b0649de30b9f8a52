/** From a place as it is written to what reads it. */
import { FileTruth } from './file-truth.ts'
import type { Place } from './place.ts'
import { SourceFault } from './source-fault.ts'
import type { Source } from './truth.ts'

/** What the ways to places need besides the place. */
export interface PlaceSettings {
  /** How long tokens of AWSPREVIOUS are accepted after their successor became current. */
  readonly awsPreviousMs: number
}

/** Kinds of places that token sets can be read from, besides the environment. */
export const SOURCE_SCHEMES = ['file', 'vault', 'aws'] as const

/**
 * Makes what reads a place. Reads nothing yet; the client of a remote place is loaded here.
 * @throws {SourceFault} where no token set can come from there, or its client is not installed.
 */
export async function openSource(place: Place, _settings: PlaceSettings): Promise<Source> {
  if (place.scheme === 'file') return new FileTruth(place.path, place.text)
  throw notASource(place)
}

/** The fault of a place that holds no token sets. */
export function notASource(place: Place): SourceFault {
  const expected = SOURCE_SCHEMES.map((scheme) => `${scheme}:`).join(', ')
  return new SourceFault(
    place.text,
    'token sets cannot come from there',
    `expected one of ${expected}`,
    { isTemporary: false },
  )
}
