/** The gateway's end of the channel to its parent. */
import { type Order, type Report, readOrder } from './messages.ts'

/** What came of a restart that was asked for. */
export interface RestartOutcome {
  /** The new gateway's process; 0 where there is none. */
  readonly pid: number
  /** Why the new one did not start, in words; undefined when it is ready. */
  readonly problem?: string
}

/** The part of `process` that is needed. */
export interface Channel {
  readonly connected: boolean
  send?(message: Report, callback: (error: Error | null) => void): unknown
  on(event: 'message', listener: (message: unknown) => void): unknown
  on(event: 'disconnect', listener: () => void): unknown
}

export type StopOrder = Extract<Order, { kind: 'stop' | 'hand-over' }>

export class ParentTie {
  readonly #channel: Channel
  readonly #opening = Promise.withResolvers<{ isFirst: boolean }>()
  readonly #ending = Promise.withResolvers<StopOrder>()
  #restart: PromiseWithResolvers<RestartOutcome> | undefined
  #isOpened = false
  #ticketKey: Buffer | undefined
  #onTicketKey: (key: Buffer) => void = () => {}
  /** Told of a reload that the parent asks for. */
  onReload: () => void = () => {}
  /** Told of a stop that is not to wait for anything. */
  onStopAtOnce: (why: string) => void = () => {}
  /** Told when the parent is gone before this gateway was opened. */
  onOrphaned: () => void = () => {}

  /** Undefined where the parent is gone already. */
  constructor(channel: Channel) {
    this.#channel = channel
    channel.on('message', (message) => {
      const order = readOrder(message)
      if (order !== undefined) this.#follow(order)
    })
    channel.on('disconnect', () => this.#lost())
    if (!channel.connected) setImmediate(() => this.#lost())
  }

  /** Resolves with the order to stop or to hand over. The parent's own end is one to stop. */
  get ending(): Promise<StopOrder> {
    return this.#ending.promise
  }

  /** Says that all is good so far, and resolves when it is this gateway's turn. */
  async mayOpen(): Promise<{ readonly isFirst: boolean }> {
    this.report({ kind: 'prepared' })
    return await this.#opening.promise
  }

  report(report: Report): void {
    // A parent that is gone shows in `disconnect`.
    if (this.#channel.connected) this.#channel.send?.(report, () => {})
  }

  /** Asks the parent for a new gateway. Resolves when that is ready to take over, or has failed. */
  restart(): Promise<RestartOutcome> {
    if (this.#restart === undefined) {
      this.#restart = Promise.withResolvers()
      this.report({ kind: 'restart-asked' })
    }
    return this.#restart.promise
  }

  /**
   * Has `use` called with the key for session tickets that the parent last sent, and with each later
   * one. A parent of an older version sends none.
   */
  onTicketKey(use: (key: Buffer) => void): void {
    this.#onTicketKey = use
    if (this.#ticketKey !== undefined) use(this.#ticketKey)
  }

  #follow(order: Order): void {
    if (order.kind === 'open') {
      this.#isOpened = true
      this.#opening.resolve({ isFirst: order.isFirst })
    } else if (order.kind === 'ping') this.report({ kind: 'alive' })
    else if (order.kind === 'reload') this.onReload()
    else if (order.kind === 'stop-at-once') this.onStopAtOnce(order.why)
    else if (order.kind === 'restart-outcome') {
      this.#restart?.resolve(order)
      this.#restart = undefined
    } else if (order.kind === 'ticket-key') {
      this.#ticketKey = Buffer.from(order.key, 'base64')
      this.#onTicketKey(this.#ticketKey)
    } else this.#ending.resolve(order)
  }

  #lost(): void {
    if (this.#isOpened) this.#ending.resolve({ kind: 'stop', why: 'The parent is gone' })
    else this.onOrphaned()
  }
}
