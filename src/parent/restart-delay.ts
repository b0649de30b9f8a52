/** How long the parent waits before it starts a gateway again that has died. */

/** A gateway that lived this long was well: the next death counts from the beginning. */
export const WELL_AFTER_MS = 60_000
const FIRST_DELAY_MS = 500
const MAX_DELAY_MS = 10_000
/** So many early deaths in a row deserve a word. */
const MANY = 5

/** What to do about a death. */
export interface Revival {
  readonly delayMs: number
  /** Deaths in a row of which each came within a minute of the start. */
  readonly earlyDeaths: number
  /** Set at the fifth such death and each fifth after it. */
  readonly deservesWord: boolean
}

/** Counts early deaths: the first revival is at once, then 0.5 s, doubling, to 10 s. */
export class RestartDelay {
  #earlyDeaths = 0

  /** A gateway has died `livedMs` after its start. */
  died(livedMs: number): Revival {
    this.#earlyDeaths = livedMs < WELL_AFTER_MS ? this.#earlyDeaths + 1 : 0
    const before = Math.max(0, this.#earlyDeaths - 1)
    const delayMs = before === 0 ? 0 : Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (before - 1))
    const earlyDeaths = this.#earlyDeaths
    return { delayMs, earlyDeaths, deservesWord: earlyDeaths > 0 && earlyDeaths % MANY === 0 }
  }
}
