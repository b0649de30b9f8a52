/**
 * Where the token set comes from when it has to be asked for: read, check, put in force, and again
 * after each interval. What the texts mean is the caller's business. A read that fails leaves in
 * force what was, so a source that is away, or holds nonsense for a while, locks nobody out.
 */
import { hash } from 'node:crypto'
import { SourceFault } from './source-fault.ts'
import type { TokenFileEvent } from './token-file.ts'
import type { Source, Version } from './truth.ts'

/** What became of a read: as of a file. `unchanged` where it says what is in force. */
export type PolledEvent = TokenFileEvent | { readonly kind: 'unchanged' }

export interface PolledSourceOptions<Content> {
  readonly source: Source
  /** Turns what was read into what is put in force. Throws an Error whose message says what is wrong. */
  readonly parse: (versions: readonly Version[]) => Content
  /** Puts it in force and returns how many tokens it has. What it throws counts as a problem. */
  readonly swap: (content: Content) => number
  /** Told when a set is loaded, and once of each distinct problem until the next good read. */
  readonly onEvent?: (event: TokenFileEvent) => void
  /** Told of each good read, changed or not. */
  readonly onGood?: () => void
  /** Time between two reads, give or take a fifth. */
  readonly pollMs: number
  /** A read that takes longer is given up. Default 10 000. */
  readonly timeoutMs?: number
  /** From 0 to 1, for the jitter. Default `Math.random`. */
  readonly random?: () => number
}

const TIMEOUT_MS = 10_000
const FIRST_RETRY_MS = 1000
const MAX_PAUSE_MS = 300_000
const MAX_PAUSE_POLLS = 4
/** Gateways that start together must not ask together for ever. */
const JITTER = 0.2
/** Distinct problems remembered as reported. */
const MAX_REPORTED = 100

export class PolledSource<Content> {
  readonly #options: PolledSourceOptions<Content>
  readonly #reported = new Set<string>()
  #goodDigest: string | undefined
  #count = 0
  #problem: string | undefined
  #lastGoodMs: number | undefined
  /** Reads that failed since the last one that did not. */
  #faults = 0
  #isTemporary = false
  #reading: Promise<PolledEvent> | undefined
  /** The source has not come back from a read, though nobody waits for it any more. */
  #isAsked = false
  #giveUp: ((why: Error) => void) | undefined
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: PolledSourceOptions<Content>) {
    this.#options = options
  }

  /** The place, as the operator wrote it. */
  get place(): string {
    return this.#options.source.place
  }

  /** What was wrong with the last read; undefined when it was good, and before the first. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** When the last good read was, changed or not, as Unix milliseconds; undefined before the first. */
  get lastGoodMs(): number | undefined {
    return this.#lastGoodMs
  }

  /**
   * Reads now, or waits for the read under way, and goes on polling from there; the first call
   * begins it. Never throws: a problem is the answer. Nothing keeps the process alive.
   */
  reload(): Promise<PolledEvent> {
    if (this.#isClosed) return Promise.resolve({ kind: 'unchanged' })
    clearTimeout(this.#timer)
    this.#reading ??= this.#readNow().finally(() => {
      this.#reading = undefined
      this.#pollLater()
    })
    return this.#reading
  }

  /** Ends what is under way, and gives back what the source holds. What is in force stays. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#giveUp?.(new Error('closed'))
    await this.#reading
    await this.#options.source.close()
  }

  #pollLater(): void {
    if (this.#isClosed) return
    const { pollMs, random = Math.random } = this.#options
    const waitMs = pauseMs(pollMs, this.#faults, this.#isTemporary, random())
    this.#timer = setTimeout(() => void this.reload(), waitMs)
    this.#timer.unref()
  }

  async #readNow(): Promise<PolledEvent> {
    try {
      const versions = await this.#readInTime()
      this.#faults = 0
      const isNew = this.#take(versions)
      this.#lastGoodMs = Date.now()
      this.#options.onGood?.()
      if (!isNew && this.#problem === undefined) return { kind: 'unchanged' }
      this.#problem = undefined
      this.#reported.clear()
      return this.#tell({ kind: 'loaded', count: this.#count })
    } catch (error) {
      if (this.#isClosed) return { kind: 'unchanged' }
      const problem = error instanceof Error ? error.message : String(error)
      this.#problem = problem
      if (this.#reported.has(problem)) return { kind: 'kept_last_good', problem }
      if (this.#reported.size >= MAX_REPORTED) this.#reported.clear()
      this.#reported.add(problem)
      return this.#tell({ kind: 'kept_last_good', problem })
    }
  }

  #tell(event: TokenFileEvent): TokenFileEvent {
    this.#options.onEvent?.(event)
    return event
  }

  /** Puts what was read in force; false where it already is. */
  #take(versions: readonly Version[]): boolean {
    const { parse, swap } = this.#options
    const told = versions.map(({ text, acceptedUntilMs }) => [text, acceptedUntilMs])
    const digest = hash('sha256', JSON.stringify(told))
    if (digest === this.#goodDigest) return false
    this.#count = swap(parse(versions))
    this.#goodDigest = digest
    return true
  }

  async #readInTime(): Promise<readonly Version[]> {
    const { source, timeoutMs = TIMEOUT_MS } = this.#options
    const stop = new AbortController()
    const end = Promise.withResolvers<never>()
    this.#giveUp = end.reject
    const timer = setTimeout(() => end.reject(this.#late(timeoutMs)), timeoutMs)
    timer.unref()
    try {
      // One that does not heed its signal is not asked a second time meanwhile.
      if (this.#isAsked) return await end.promise
      this.#isAsked = true
      const reading = this.#ask(source, stop.signal)
      reading.catch(() => undefined)
      return await Promise.race([reading, end.promise])
    } catch (error) {
      this.#faults += 1
      this.#isTemporary = error instanceof SourceFault && error.isTemporary
      throw error
    } finally {
      clearTimeout(timer)
      stop.abort()
      this.#giveUp = undefined
    }
  }

  async #ask(source: Source, signal: AbortSignal): Promise<readonly Version[]> {
    try {
      return await source.read(signal)
    } finally {
      this.#isAsked = false
    }
  }

  #late(timeoutMs: number): SourceFault {
    const problem = `did not answer within ${timeoutMs / 1000} s`
    const advice = 'look whether it runs and can be reached from here'
    return new SourceFault(this.place, problem, advice, { isTemporary: true })
  }
}

/**
 * How long to wait before the next read, with jitter from `random` (0 to 1). After a good one
 * `pollMs`. After `faults` reads in a row that failed it doubles each time, up to five minutes and
 * four times `pollMs`: from a second on where the fault may pass by itself, else from `pollMs` on,
 * as wrong credentials tried too often lock out some who have the right ones.
 */
export function pauseMs(
  pollMs: number,
  faults: number,
  isTemporary: boolean,
  random: number,
): number {
  const jitter = 1 - JITTER + 2 * JITTER * random
  if (faults === 0) return Math.floor(pollMs * jitter)
  const mostMs = Math.min(MAX_PAUSE_MS, pollMs * MAX_PAUSE_POLLS) / (1 + JITTER)
  const firstMs = isTemporary ? Math.min(FIRST_RETRY_MS, pollMs) : pollMs
  return Math.floor(Math.min(mostMs, firstMs * 2 ** (faults - 1)) * jitter)
}
