/** Puts a token where agents take it from in AWS: `aws:SECRET-ID`, or one field: `aws:SECRET-ID#FIELD`. */
import type { Delivery, TokenInPlain } from '../delivery.ts'
import type { Place } from '../place.ts'
import { SourceFault } from '../source-fault.ts'
import { AwsSecret } from './secrets.ts'
import { AwsTruth } from './truth.ts'

/** Others may write to the same secret; each try begins from what they wrote. */
const MAX_TRIES = 5

export class AwsDelivery implements Delivery {
  readonly place: string
  readonly #truth: AwsTruth
  readonly #field: string | undefined

  constructor(secret: AwsSecret, field: string | undefined) {
    this.place = secret.place
    this.#truth = new AwsTruth(secret)
    this.#field = field
  }

  /** @throws {SourceFault} where the SDK is not installed. */
  static async open(place: Place): Promise<AwsDelivery> {
    return new AwsDelivery(await AwsSecret.open(place), place.field)
  }

  async check(): Promise<string> {
    const { text } = await this.#truth.readCurrent()
    this.#with(text, '')
    if (text === undefined) return `would make the secret ${this.place} with the token`
    return this.#field === undefined
      ? `would replace the value of ${this.place}; the one before stays as AWSPREVIOUS`
      : `would replace the field ${this.#field} of ${this.place}; the others stay`
  }

  async deliver({ token }: TokenInPlain): Promise<string> {
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const { text, version } = await this.#truth.readCurrent()
      const next = this.#with(text, token)
      if (next === text) return `${this.place} has the token already`
      if (await this.#truth.write(next, version)) return `wrote the token to ${this.place}`
    }
    throw new SourceFault(
      this.place,
      `somebody else wrote to it ${MAX_TRIES} times meanwhile`,
      'look who does, and try again',
      { isTemporary: true },
    )
  }

  close(): Promise<void> {
    return this.#truth.close()
  }

  /** The text of the secret with the token in its place. */
  #with(text: string | undefined, token: string): string {
    const fields = text === undefined ? undefined : fieldsOf(text)
    if (this.#field !== undefined) {
      if (text !== undefined && text.trim() !== '' && fields === undefined)
        throw this.#unfit('is no JSON object, and so has no fields', `leave out #${this.#field}`)
      return JSON.stringify({ ...fields, [this.#field]: token })
    }
    if (fields === undefined) return token
    if (Object.hasOwn(fields, 'tokens'))
      throw this.#unfit('holds a token set', 'deliver to a secret of its own')
    if (typeof fields.token === 'string') return JSON.stringify({ ...fields, token })
    throw this.#unfit('holds fields that would be lost', `name one, such as ${this.place}#token`)
  }

  #unfit(problem: string, advice: string): SourceFault {
    return new SourceFault(this.place, `the secret ${problem}`, advice, { isTemporary: false })
  }
}

function fieldsOf(text: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(text)
    const isObject = typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
    return isObject ? (parsed as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
