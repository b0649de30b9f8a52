/**
 * A token set, or one token, that is kept in AWS Secrets Manager: `aws:SECRET-ID`. Of three versions,
 * as agents may hold the token of any while one takes the place of another.
 */
import type { Place } from '../place.ts'
import { SourceFault } from '../source-fault.ts'
import type { Source, Version } from '../truth.ts'
import { AwsSecret, type SecretVersion } from './secrets.ts'

export interface AwsSourceSettings {
  /** How long the token of AWSPREVIOUS is accepted after its successor became current. */
  readonly previousMs: number
  /** Default `Date.now`. */
  readonly wallMs?: () => number
}

export class AwsSource implements Source {
  readonly place: string
  readonly #secret: AwsSecret
  readonly #settings: AwsSourceSettings
  /** The version that is current, and since when at the earliest. */
  #current: { readonly id: string; readonly sinceMs: number } | undefined

  constructor(secret: AwsSecret, settings: AwsSourceSettings) {
    this.place = secret.place
    this.#secret = secret
    this.#settings = settings
  }

  /** @throws {SourceFault} where the place names a field, or the SDK is not installed. */
  static async open(place: Place, settings: AwsSourceSettings): Promise<AwsSource> {
    if (place.field !== undefined) {
      throw new SourceFault(
        place.text,
        'a token set takes the whole secret',
        `leave out #${place.field}`,
        { isTemporary: false },
      )
    }
    return new AwsSource(await AwsSecret.open(place), settings)
  }

  /**
   * AWSCURRENT, then AWSPENDING and AWSPREVIOUS where there are such. AWSPREVIOUS is accepted for a
   * time only, though AWS keeps it until the next rotation.
   */
  async read(signal?: AbortSignal): Promise<readonly Version[]> {
    // In the order in which labels move: a version that becomes current meanwhile is seen all the same.
    const pending = await this.#secret.read('AWSPENDING', signal)
    const current = await this.#secret.read('AWSCURRENT', signal)
    if (current === undefined) throw this.#missing()
    const previous = await this.#secret.read('AWSPREVIOUS', signal)
    const sinceMs = this.#sinceMs(current)
    const versions: Version[] = [{ text: current.text, version: current.id }]
    if (pending !== undefined && pending.id !== current.id)
      versions.push({ text: pending.text, version: pending.id })
    if (previous !== undefined && previous.id !== current.id) {
      const acceptedUntilMs = sinceMs + this.#settings.previousMs
      versions.push({ text: previous.text, version: previous.id, acceptedUntilMs })
    }
    return versions
  }

  async close(): Promise<void> {
    this.#secret.close()
  }

  /**
   * AWS keeps no note of when a version became current. Where that was seen to happen, it is now; else
   * the version has been current since it was made at the earliest.
   */
  #sinceMs({ id, createdMs }: SecretVersion): number {
    const { wallMs = Date.now } = this.#settings
    if (this.#current?.id !== id) {
      const sinceMs = this.#current === undefined ? createdMs : Math.max(createdMs, wallMs())
      this.#current = { id, sinceMs }
    }
    return this.#current.sinceMs
  }

  #missing(): SourceFault {
    return new SourceFault(
      this.place,
      'there is no such secret, or it has no value (ResourceNotFoundException)',
      'look at its name, and at AWS_REGION: each region has its own secrets',
      { isTemporary: false },
    )
  }
}
