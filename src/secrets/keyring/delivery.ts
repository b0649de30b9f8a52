/**
 * Delivers a token to the keyring of this machine's desktop (`keyring:SERVICE/USER`): the same item
 * that Python's `keyring.get_password(SERVICE, USER)` reads.
 */
import type { Delivery, TokenInPlain } from '../delivery.ts'
import type { Place } from '../place.ts'
import { SourceFault } from '../source-fault.ts'
import { answered, flawOf, type KeyringItem, openItem } from './item.ts'
import { checkSecretTool, clearItems, storeAsPython } from './secret-tool.ts'

export interface KeyringDeliveryOptions {
  /** How long one request to the keyring may take; somebody may have to type its password. */
  readonly timeoutMs: number
}

/** What the keyring holds before a delivery. */
type Found = 'none' | 'one' | 'several'

/**
 * An item that exists is changed in place, whoever made it. Several for the same service and user,
 * of which readers take any, are made one. A new one is made through libsecret with the attributes
 * that Python's keyring gives its own, so that Python changes this one later and adds no second.
 */
export class KeyringDelivery implements Delivery {
  readonly place: string
  readonly #item: KeyringItem
  readonly #timeoutMs: number

  /** The last `/` divides service and user. @throws {SourceFault} where one of them is missing. */
  constructor(place: Place, { timeoutMs }: KeyringDeliveryOptions) {
    this.place = place.text
    this.#timeoutMs = timeoutMs
    const [, service, user] = /^(.+)\/([^/]+)$/.exec(place.path) ?? []
    if (service === undefined || user === undefined || place.field !== undefined) {
      throw new SourceFault(
        this.place,
        'an item of a keyring has a service and a user, and no part behind a #',
        'write keyring:SERVICE/USER, such as keyring:my-agent/otel-bearer-token',
        { isTemporary: false },
      )
    }
    this.#item = { place: this.place, service, user }
  }

  async check(): Promise<string> {
    const { service, user } = this.#item
    const found = await this.#find()
    if (found === 'one') return `would change the item ${service}/${user} of the keyring in place`
    if (process.platform === 'linux') await checkSecretTool(this.#item, this.#timeoutMs)
    return found === 'none'
      ? `would make the item ${service}/${user} in the keyring`
      : `would replace the several items for ${service}/${user} in the keyring by one`
  }

  async deliver({ token }: TokenInPlain): Promise<string> {
    const { service, user } = this.#item
    const found = await this.#find()
    if (found === 'one' || process.platform !== 'linux') {
      const entry = await openItem(this.#item)
      await this.#answered(entry.setPassword(token))
    } else {
      await storeAsPython(this.#item, token, this.#timeoutMs)
    }
    if (found === 'several') {
      // Only now that storing is known to work are the others removed, which takes the new one along.
      await clearItems(this.#item, this.#timeoutMs)
      await storeAsPython(this.#item, token, this.#timeoutMs)
    }
    await this.#compare(token)
    const done = {
      none: `made the item ${service}/${user} in the keyring`,
      one: `changed the item ${service}/${user} of the keyring`,
      several: `replaced several items for ${service}/${user} in the keyring by one`,
    } satisfies Record<Found, string>
    return `${done[found]}; agents that read it once have to be restarted`
  }

  async close(): Promise<void> {}

  async #find(): Promise<Found> {
    const entry = await openItem(this.#item)
    const reading = entry.getPassword().catch((error: unknown) => {
      if (process.platform === 'linux' && flawOf(error) === 'ambiguous') return undefined
      throw error
    })
    const secret = await this.#answered(reading)
    if (secret === undefined) return 'several'
    return secret === null ? 'none' : 'one'
  }

  async #compare(token: string): Promise<void> {
    const entry = await openItem(this.#item)
    if ((await this.#answered(entry.getPassword())) === token) return
    throw new SourceFault(
      this.place,
      'the keyring does not hold what was just written',
      'see whether another program writes the same item, and deliver again',
      { isTemporary: true },
    )
  }

  #answered<T>(answer: Promise<T>): Promise<T> {
    return answered(this.#item, this.#timeoutMs, answer)
  }
}
