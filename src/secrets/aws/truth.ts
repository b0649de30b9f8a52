/**
 * A secret in AWS as the source of truth. Written by compare-and-set: the new version is put under a
 * label of its own, which nobody reads, and AWSCURRENT is then moved to it from the version that was
 * read. AWS refuses the move where AWSCURRENT is elsewhere by then.
 */
import { hash } from 'node:crypto'
import { SourceFault } from '../source-fault.ts'
import type { Truth, Version } from '../truth.ts'
import type { AwsSecret } from './secrets.ts'

/** The version of a secret that has none. */
const ABSENT = 'absent'
const LABEL_PREFIX = 'TOLLGATE-'
/** What AWS takes for a secret. */
const MAX_BYTES = 65_536

export class AwsTruth implements Truth {
  readonly place: string
  readonly #secret: AwsSecret

  constructor(secret: AwsSecret) {
    this.place = secret.place
    this.#secret = secret
  }

  async readCurrent(): Promise<Version> {
    const current = await this.#secret.read('AWSCURRENT')
    return { text: current?.text, version: current?.id ?? ABSENT }
  }

  /**
   * Makes the secret where there is none. What was read becomes AWSPREVIOUS. A write that is tried
   * again after it was cut off goes on with the version that the first try has put there.
   */
  async write(text: string, version: string): Promise<boolean> {
    this.#assertFits(text)
    // From 32 to 64 characters; AWS takes it as the id of the version.
    const id = hash('sha256', `${version}\n${text}`)
    const current = (await this.readCurrent()).version
    if (current !== version) return current === id
    if (version === ABSENT && (await this.#secret.create(text, id))) return true
    const label = `${LABEL_PREFIX}${id.slice(0, 16)}`
    try {
      await this.#secret.put(text, id, label)
      const from = version === ABSENT ? undefined : version
      if (await this.#secret.move('AWSCURRENT', from, id)) return true
      // The move may have been made by a try whose answer was lost.
      return (await this.#secret.read('AWSCURRENT'))?.id === id
    } finally {
      // A version without a label is nothing to AWS, and goes by itself.
      await this.#secret.move(label, id, undefined).catch(() => false)
    }
  }

  async close(): Promise<void> {
    this.#secret.close()
  }

  #assertFits(text: string): void {
    const bytes = Buffer.byteLength(text)
    if (bytes <= MAX_BYTES) return
    throw new SourceFault(
      this.place,
      `the new value has ${bytes} bytes, and AWS takes ${MAX_BYTES}`,
      'take out tokens that have ended, or spread the set over several secrets',
      { isTemporary: false },
    )
  }
}
