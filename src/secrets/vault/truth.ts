/** The source of truth in Vault: written by compare-and-set with the version number that was read. */
import { SourceFault } from '../source-fault.ts'
import type { Truth } from '../truth.ts'
import { type Fields, fieldsOf } from './exchange.ts'
import { atPlace } from './fault.ts'
import { VaultSource } from './source.ts'

export class VaultTruth extends VaultSource implements Truth {
  /** `text` is a JSON object, and `version` what a reading had: a number, `0` where there was nothing. */
  async write(text: string, version: string): Promise<boolean> {
    if (!/^\d+$/.test(version))
      throw new TypeError(`${this.place}: no version of Vault: ${version}`)
    const data = this.#parse(text)
    return await atPlace(this.place, () => this.secret.write(data, Number(version)))
  }

  #parse(text: string): Fields {
    let parsed: unknown
    try {
      parsed = JSON.parse(text)
    } catch {}
    if (parsed === undefined || parsed !== fieldsOf(parsed)) {
      throw new SourceFault(
        this.place,
        'a secret in Vault is a JSON object, and this set is none',
        'write it as {"tokens": […]}',
        { isTemporary: false },
      )
    }
    return fieldsOf(parsed)
  }
}
