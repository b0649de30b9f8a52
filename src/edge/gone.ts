/** Remembers that a client went away, and tells whoever asked; each listener hears of it once. */
export class Gone {
  #listeners: (() => void)[] = []
  #isGone = false

  listen(listener: () => void): void {
    if (this.#isGone) listener()
    else this.#listeners.push(listener)
  }

  fire(): void {
    if (this.#isGone) return
    this.#isGone = true
    const listeners = this.#listeners
    this.#listeners = []
    for (const listener of listeners) listener()
  }

  /** The call was answered: nobody needs to hear any more. */
  forget(): void {
    this.#listeners = []
  }
}
