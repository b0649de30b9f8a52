/** What Prometheus is told of backups. */
import { Counter, Gauge, Registry } from 'prom-client'
import { newest, type Target, type TargetKind } from './target.ts'
import { STAGES, type Stage } from './unusable.ts'
import type { Status } from './work.ts'

const PREFIX = 'tollgate_backup_'

export class Metrics {
  readonly #registry = new Registry()
  readonly #lastSuccess = this.#gauge(
    'last_success_timestamp_seconds',
    'When the newest whole backup was made, by target. Read from the listing after a start.',
    ['target'],
  )
  readonly #lastSize = this.#gauge('last_size_bytes', 'Size of the newest whole backup.', [
    'target',
  ])
  readonly #copies = this.#gauge('copies', 'Whole backups that are kept.', ['target'])
  readonly #lastAttempt = this.#gauge(
    'last_attempt_success',
    '1 if the last attempt since the start reached this target, 0 if not.',
    ['target'],
  )
  readonly #lastDuration = this.#gauge(
    'last_duration_seconds',
    'How long the last backup took.',
    [],
  )
  readonly #lastVerify = this.#gauge(
    'last_verify_success_timestamp_seconds',
    'When a backup was last verified by reading it all back. None where this was never done.',
    [],
  )
  readonly #failures = new Counter({
    name: `${PREFIX}failures_total`,
    help: 'Failures since the start, by stage.',
    labelNames: ['stage'],
    registers: [this.#registry],
  })

  constructor() {
    for (const stage of STAGES) this.#failures.inc({ stage }, 0)
  }

  /** The page, and its content type. */
  async page(): Promise<{ readonly text: string; readonly type: string }> {
    return { text: await this.#registry.metrics(), type: this.#registry.contentType }
  }

  /** Names of all families, for tests and documentation. */
  names(): readonly string[] {
    return this.#registry.getMetricsAsArray().map(({ name }) => name)
  }

  /**
   * Takes over what a target holds. Resolves with the time of its newest whole copy, in Unix
   * milliseconds. @throws what the target does, and changes nothing then.
   */
  async readTarget(target: Target): Promise<number | undefined> {
    const copies = await target.list()
    const last = newest(copies)
    const labels = { target: target.kind }
    this.#copies.set(labels, copies.filter(({ isWhole }) => isWhole).length)
    if (last === undefined) {
      this.#lastSuccess.remove(labels)
      this.#lastSize.remove(labels)
      return undefined
    }
    this.#lastSuccess.set(labels, last.name.timeMs / 1000)
    this.#lastSize.set(labels, last.sizeBytes)
    return last.name.timeMs
  }

  setStatus({ lastDurationMs, lastVerifyMs }: Status): void {
    if (lastDurationMs !== undefined) this.#lastDuration.set(lastDurationMs / 1000)
    if (lastVerifyMs !== undefined) this.#lastVerify.set(lastVerifyMs / 1000)
  }

  setAttempt(target: TargetKind, isSuccess: boolean): void {
    this.#lastAttempt.set({ target }, isSuccess ? 1 : 0)
  }

  fail(stage: Stage): void {
    this.#failures.inc({ stage })
  }

  #gauge(name: string, help: string, labelNames: readonly 'target'[]): Gauge {
    const gauge = new Gauge({
      name: `${PREFIX}${name}`,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
    })
    // A gauge without labels is 0 until it is set, which would be a time long ago.
    gauge.reset()
    if (labelNames.length === 0) gauge.remove()
    return gauge
  }
}
