/** Puts a token in plain where agents read it from Vault: one field of a secret, `vault:MOUNT/PATH#FIELD`. */
import type { Delivery, TokenInPlain } from '../delivery.ts'
import type { Place } from '../place.ts'
import type { VaultClient } from './client.ts'
import { atPlace, VaultFault } from './fault.ts'
import { type Reading, Secret } from './secret.ts'

const DEFAULT_FIELD = 'token'
/** Others may write other fields of the same secret at the same time. */
const MAX_ATTEMPTS = 5

export class VaultDelivery implements Delivery {
  readonly place: string
  readonly #client: VaultClient
  readonly #secret: Secret
  readonly #field: string
  #isClosed = false

  /** @throws {SourceFault} where the place names no secret. */
  constructor(client: VaultClient, place: Place) {
    this.place = place.text
    this.#client = client
    this.#secret = new Secret(client, place)
    this.#field = place.field ?? DEFAULT_FIELD
    client.retain()
  }

  async check(): Promise<string> {
    return await atPlace(this.place, async () => {
      await this.#secret.checkMay(['create', 'read', 'update'])
      const reading = await this.#secret.read()
      if (reading.kind !== 'present') {
        return `would create ${this.place} with the field ${this.#field}${was(reading)}`
      }
      const doing = Object.hasOwn(reading.data, this.#field) ? 'replace' : 'add'
      return `would ${doing} the field ${this.#field} of ${this.place} (version ${reading.version} now)${this.#others(reading)}`
    })
  }

  /** Writes no new version where the token is there already. Other fields of the secret stay. */
  async deliver({ token }: TokenInPlain): Promise<string> {
    return await atPlace(this.place, async () => {
      for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
        const reading = await this.#secret.read()
        const data = reading.kind === 'present' ? reading.data : {}
        if (data[this.#field] === token) {
          return `${this.place} has it already (version ${reading.version}, field ${this.#field})`
        }
        if (await this.#secret.write({ ...data, [this.#field]: token }, reading.version)) {
          return `wrote the field ${this.#field} of ${this.place} (version ${reading.version + 1}); agents have it when they read it again`
        }
      }
      throw new VaultFault(
        `others wrote it between reading and writing, ${MAX_ATTEMPTS} times in a row`,
        'see who writes it, and try again',
        { isTemporary: true },
      )
    })
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#client.release()
  }

  #others({ data }: Reading & { kind: 'present' }): string {
    const others = Object.keys(data).filter((name) => name !== this.#field).length
    if (others === 0) return ''
    return others === 1 ? ' and keep its other field' : ` and keep its ${others} other fields`
  }
}

function was(reading: Reading): string {
  if (reading.kind !== 'deleted') return ''
  const how = reading.isDestroyed ? 'destroyed' : 'deleted'
  return ` (version ${reading.version} was ${how})`
}
