/** What is made from a few words, and asked for again and again. */

/** Refusals differ in few ways, but some have a number or a name of the client's in their words. */
const MAX_KEPT = 1000

/** Keeps what was made for each key; all of it is forgotten where there are more than 1,000. */
export class MadeOnce<Made> {
  readonly #kept = new Map<string, Made>()

  of(key: string, make: () => Made): Made {
    let made = this.#kept.get(key)
    if (made === undefined) {
      made = make()
      if (this.#kept.size >= MAX_KEPT) this.#kept.clear()
      this.#kept.set(key, made)
    }
    return made
  }
}
