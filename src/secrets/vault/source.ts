/** A token set that is kept in Vault: `vault:MOUNT/PATH`. The secret itself is the set. */
import type { Place } from '../place.ts'
import { SourceFault } from '../source-fault.ts'
import type { Source, Version } from '../truth.ts'
import type { VaultClient } from './client.ts'
import { atPlace } from './fault.ts'
import { Secret } from './secret.ts'

export class VaultSource implements Source {
  readonly place: string
  readonly #client: VaultClient
  protected readonly secret: Secret
  #isClosed = false

  /** @throws {SourceFault} where the place names no secret, or one field of it. */
  constructor(client: VaultClient, place: Place) {
    if (place.field !== undefined) {
      throw new SourceFault(
        place.text,
        'a token set takes the whole secret',
        `leave out #${place.field}`,
        { isTemporary: false },
      )
    }
    this.place = place.text
    this.#client = client
    this.secret = new Secret(client, place)
    client.retain()
  }

  /** One version: the newest. `text` is undefined where there has never been one. */
  async read(): Promise<readonly Version[]> {
    return [await this.readCurrent()]
  }

  /** @throws {SourceFault} or {FileFault}, also where the newest version was deleted. */
  async readCurrent(): Promise<Version> {
    return await atPlace(this.place, async () => {
      const reading = await this.secret.read()
      if (reading.kind === 'deleted') throw this.secret.deletion(reading)
      const text = reading.kind === 'present' ? JSON.stringify(reading.data) : undefined
      return { text, version: String(reading.version) }
    })
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#client.release()
  }
}
