/**
 * Keeps one certificate alive: orders the first, renews it in time, waits after failures, and
 * remembers all of it over a restart. One attempt at a time, over processes too.
 */
import { AcmeFault } from './acme-fault.ts'
import { type AcmeSettings, askWhenToRenew, CERTIFICATE_FILE, obtain } from './attempt.ts'
import { isFor, type Kept, keptFrom } from './certificate-file.ts'
import { type AcmeRecord, NO_RECORD, recordFrom, recordText } from './record.ts'
import {
  allowedAt,
  limitsOf,
  remembered,
  renewalAt,
  renewalWithin,
  waitMsAfter,
} from './schedule.ts'

const RECORD_FILE = 'state.json'
/** The clock is looked at this often at least: a machine may have slept, its time may have been set. */
const LONGEST_TIMER_MS = 600_000
const INFO_AGAIN_MS = 3_600_000
/** A directory that always says "now" gets no more than one order in this time, or in a third of a life. */
const LEAST_GAP_MS = 3_600_000

/** What happens, for the log. */
export type KeeperEvent =
  | { readonly kind: 'ordering'; readonly isFirst: boolean }
  | { readonly kind: 'issued'; readonly notAfterMs: number; readonly renewAtMs: number }
  | { readonly kind: 'failed'; readonly words: string; readonly nextAttemptMs: number }
  /** The directory wants another time than before: `explanation` is a page that says why. */
  | { readonly kind: 'moved'; readonly renewAtMs: number; readonly explanation: string | undefined }
  /** Something beside the certificate went wrong, in a sentence. */
  | { readonly kind: 'notice'; readonly words: string }

export interface KeeperOptions extends AcmeSettings {
  /** Takes the lock that all processes share; resolves with what releases it. Rejects where another has it. */
  readonly lock: () => Promise<() => Promise<void>>
  /** From 0 to 1. */
  readonly random: () => number
  readonly onEvent: (event: KeeperEvent) => void
  /** A new certificate is in its file. Resolves when it is in use. */
  readonly onIssued: () => Promise<unknown>
}

/** How it stands. */
export interface KeeperState {
  /** Nothing from the directory is in use yet: what is served stands in. */
  readonly isStandIn: boolean
  /** When the next attempt is, Unix milliseconds; undefined while one is under way. */
  readonly nextAttemptMs: number | undefined
  readonly lastFailure: AcmeRecord['lastFailure']
  readonly lastSuccessMs: number | undefined
}

/** What came of a renewal that was asked for by hand. */
export type RenewalAnswer =
  | { readonly kind: 'renewed' }
  | { readonly kind: 'not_due'; readonly dueMs: number }
  | { readonly kind: 'failed'; readonly words: string }

export class Keeper {
  readonly #options: KeeperOptions
  readonly #closing = new AbortController()
  readonly #asked: string
  #record: AcmeRecord = NO_RECORD
  #kept: Kept | undefined
  #timer: NodeJS.Timeout | undefined
  #work: Promise<unknown> = Promise.resolve()
  #isAttempting = false
  #askInfoAtMs = 0

  constructor(options: KeeperOptions) {
    this.#options = options
    const { directory, names, email, challenger } = options
    this.#asked = JSON.stringify([
      directory,
      [...names].sort(),
      email ?? '',
      challenger.expectation(''),
    ])
  }

  get state(): KeeperState {
    const { lastFailure, lastSuccessMs } = this.#record
    const nextAttemptMs = this.#isAttempting ? undefined : this.#dueMs()
    return { isStandIn: this.#kept === undefined, nextAttemptMs, lastFailure, lastSuccessMs }
  }

  /** Reads what is there, and begins. Does not wait for a certificate. */
  async start(): Promise<void> {
    await this.#load()
    this.#schedule()
  }

  /** Renews now if it is due, or in any case when forced; the limits of the directory hold either way. */
  renew(isForced: boolean): Promise<RenewalAnswer> {
    return this.#enqueue(async () => {
      const wallMs = this.#options.wallMs()
      const dueMs = this.#renewalDueMs()
      if (!isForced && dueMs > wallMs) return { kind: 'not_due', dueMs }
      const allowedMs = this.#allowedMs()
      if (allowedMs > wallMs) {
        const at = new Date(allowedMs).toISOString()
        const { directory } = this.#options
        const words = `not before ${at}: ${new URL(directory).hostname} limits how often it may be asked`
        return { kind: 'failed', words }
      }
      const problem = await this.#attempt()
      return problem === undefined ? { kind: 'renewed' } : { kind: 'failed', words: problem }
    })
  }

  /** Ends what is under way. It is begun anew at the next start. */
  async close(): Promise<void> {
    clearTimeout(this.#timer)
    this.#closing.abort(new Error('the gateway stops'))
    await this.#work
  }

  async #load(): Promise<void> {
    const { files, onEvent, random, wallMs } = this.#options
    this.#kept = await this.#readKept()
    try {
      const text = await files.read(RECORD_FILE)
      this.#record = text === undefined ? NO_RECORD : recordFrom(text)
    } catch (error) {
      const words = `${files.pathOf(RECORD_FILE)} cannot be used and is written anew: ${wordsOf(error)}`
      onEvent({ kind: 'notice', words })
    }
    const record = this.#record
    if (record.asked !== this.#asked) {
      this.#change({ asked: this.#asked, waitUntilMs: 0, failures: 0, begunMs: undefined })
    } else if (record.begunMs !== undefined) {
      // Killed in the middle. A gateway that dies of it again and again must not ask each time.
      const failures = record.failures + 1
      const waitUntilMs = wallMs() + waitMsAfter('away', failures, random())
      this.#change({ begunMs: undefined, failures, waitUntilMs })
    }
    this.#planRenewal()
  }

  /** The certificate that is kept, if it is what is asked for now. */
  async #readKept(): Promise<Kept | undefined> {
    const { files, directory, names, wallMs } = this.#options
    const kept = keptFrom(await files.read(CERTIFICATE_FILE))
    if (kept === undefined || kept.directory !== directory) return undefined
    return isFor(kept.leaf, names) && kept.notAfterMs > wallMs() ? kept : undefined
  }

  /** Sees to it that there is a time of renewal for the certificate that is kept. */
  #planRenewal(): void {
    const kept = this.#kept
    if (kept === undefined) return
    const fingerprint = kept.leaf.fingerprint256
    if (this.#record.fingerprint === fingerprint) return
    const renewAtMs = renewalAt(kept, this.#options.random())
    this.#change({ fingerprint, renewAtMs, window: undefined })
    this.#askInfoAtMs = 0
  }

  /** When the certificate is to be renewed, failures left aside. */
  #renewalDueMs(): number {
    const kept = this.#kept
    if (kept === undefined || kept.notAfterMs <= this.#options.wallMs()) return 0
    return this.#record.renewAtMs ?? 0
  }

  #allowedMs(): number {
    const { toldToWaitUntilMs } = this.#record
    return Math.max(toldToWaitUntilMs, allowedAt(limitsOf(this.#options.directory), this.#record))
  }

  #dueMs(): number {
    return Math.max(this.#renewalDueMs(), this.#record.waitUntilMs, this.#allowedMs())
  }

  #schedule(): void {
    clearTimeout(this.#timer)
    if (this.#closing.signal.aborted) return
    const infoMs = this.#kept === undefined ? Number.POSITIVE_INFINITY : this.#askInfoAtMs
    const waitMs = Math.min(this.#dueMs(), infoMs) - this.#options.wallMs()
    this.#timer = setTimeout(
      () => void this.#enqueue(() => this.#tick()),
      Math.min(Math.max(waitMs, 0), LONGEST_TIMER_MS),
    )
    this.#timer.unref()
  }

  async #tick(): Promise<void> {
    const { wallMs } = this.#options
    if (this.#kept !== undefined && this.#askInfoAtMs <= wallMs()) await this.#askInfo(this.#kept)
    if (this.#dueMs() <= wallMs()) await this.#attempt()
  }

  /** Never rejects: what goes wrong without being foreseen is told and tried again. */
  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#work.then(async () => {
      this.#closing.signal.throwIfAborted()
      try {
        return await work()
      } finally {
        this.#schedule()
      }
    })
    this.#work = run.catch(() => undefined)
    // Nobody waits for a tick; who asked by hand is told.
    run.catch(() => undefined)
    return run
  }

  async #askInfo(kept: Kept): Promise<void> {
    const { onEvent, random, wallMs } = this.#options
    const { signal } = this.#closing
    this.#askInfoAtMs = wallMs() + INFO_AGAIN_MS
    try {
      const info = await askWhenToRenew(this.#options, kept.leaf.toString(), signal)
      if (info === undefined) {
        this.#askInfoAtMs = wallMs() + 24 * INFO_AGAIN_MS
        return
      }
      this.#askInfoAtMs = info.askAgainMs
      const { window } = info
      const before = this.#record.window
      if (before?.startMs === window.startMs && before.endMs === window.endMs) return
      const gapMs = Math.min(LEAST_GAP_MS, (kept.notAfterMs - kept.notBeforeMs) / 3)
      const earliestMs = kept.notBeforeMs + gapMs
      const renewAtMs = Math.max(renewalWithin(window, kept, random()), earliestMs)
      this.#change({ window, renewAtMs })
      await this.#save()
      const { explanation } = info
      if (before !== undefined) onEvent({ kind: 'moved', renewAtMs, explanation })
    } catch (error) {
      if (signal.aborted) return
      onEvent({ kind: 'notice', words: `Could not ask when to renew: ${wordsOf(error)}` })
    }
  }

  /** Resolves with what went wrong, in words. */
  async #attempt(): Promise<string | undefined> {
    const { onEvent, onIssued, wallMs } = this.#options
    const { signal } = this.#closing
    this.#isAttempting = true
    let release: (() => Promise<void>) | undefined
    try {
      release = await this.#lock()
      if (await this.#wasRenewed()) return undefined
      this.#change({ begunMs: wallMs() })
      await this.#save()
      onEvent({ kind: 'ordering', isFirst: this.#kept === undefined })
      await obtain(this.#options, signal)
      this.#kept = await this.#readKept()
      const { failuresMs, issuesMs } = this.#record
      const past = remembered({ failuresMs, issuesMs: [...issuesMs, wallMs()] }, wallMs())
      const success = { begunMs: undefined, failures: 0, waitUntilMs: 0, toldToWaitUntilMs: 0 }
      this.#change({ ...success, ...past, lastFailure: undefined, lastSuccessMs: wallMs() })
      this.#planRenewal()
      await this.#save()
      await onIssued()
      const { renewAtMs = 0 } = this.#record
      onEvent({ kind: 'issued', notAfterMs: this.#kept?.notAfterMs ?? 0, renewAtMs })
      return undefined
    } catch (error) {
      if (signal.aborted) {
        this.#change({ begunMs: undefined })
        await this.#save()
        throw signal.reason
      }
      const words = await this.#failed(error)
      onEvent({ kind: 'failed', words, nextAttemptMs: this.#dueMs() })
      return words
    } finally {
      this.#isAttempting = false
      await release?.()
    }
  }

  /** Whether another process has put a new certificate there since we looked. */
  async #wasRenewed(): Promise<boolean> {
    const kept = await this.#readKept()
    const isOther =
      kept !== undefined && kept.leaf.fingerprint256 !== this.#kept?.leaf.fingerprint256
    if (!isOther) return false
    this.#kept = kept
    this.#planRenewal()
    await this.#options.onIssued()
    return true
  }

  async #lock(): Promise<() => Promise<void>> {
    try {
      return await this.#options.lock()
    } catch (cause) {
      throw new AcmeFault('local', wordsOf(cause), { cause })
    }
  }

  async #failed(error: unknown): Promise<string> {
    const { random, wallMs } = this.#options
    const fault =
      error instanceof AcmeFault ? error : new AcmeFault('local', wordsOf(error), { cause: error })
    const { kind, message: words, retryAtMs = 0 } = fault
    const failures = this.#record.failures + 1
    const atMs = wallMs()
    const counted = kind === 'validation' ? [atMs] : []
    const { failuresMs, issuesMs } = this.#record
    this.#change({
      ...remembered({ failuresMs: [...failuresMs, ...counted], issuesMs }, atMs),
      begunMs: undefined,
      failures,
      lastFailure: { atMs, kind, words },
      waitUntilMs: atMs + waitMsAfter(kind, failures, random()),
      // A date far off would be a mistake of the directory, or a clock that is wrong.
      toldToWaitUntilMs: Math.min(retryAtMs, atMs + 8 * 86_400_000),
    })
    await this.#save()
    return words
  }

  #change(fields: Partial<AcmeRecord>): void {
    this.#record = { ...this.#record, ...fields }
  }

  /** A disk that is full must not stop a renewal: what is not written is forgotten at a restart. */
  async #save(): Promise<void> {
    const { files, onEvent } = this.#options
    try {
      await files.write(RECORD_FILE, recordText(this.#record))
    } catch (error) {
      const words = `${files.pathOf(RECORD_FILE)} cannot be written, so a restart forgets the waits: ${wordsOf(error)}`
      onEvent({ kind: 'notice', words })
    }
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
