/**
 * The parent: keeps a gateway running behind sockets that it holds. It starts one again when it dies,
 * replaces it by a new one without a pause when it is asked to, and ends when it is told to stop.
 *
 * At most three live at a time: the current gateway, which alone accepts; the next one, which has
 * read configuration, certificate and tokens and waits for its turn; and the former one, which
 * finishes what is under way. One that does not answer any more is killed, and the rest follows.
 */
import { constants } from 'node:os'
import type { Ending, GatewayProcess, Listeners } from './gateway-process.ts'
import { Heartbeat } from './heartbeat.ts'
import type { Say } from './lines.ts'
import type { Report } from './messages.ts'
import { RestartDelay } from './restart-delay.ts'

export interface ParentOptions {
  readonly start: (listeners: Listeners) => GatewayProcess
  readonly say: Say
  readonly nowMs: () => number
  /** How long a gateway finishes what is under way. */
  readonly drainMs: number
  /** How long the next gateway may take to read what it needs. Default 60 s. */
  readonly prepareMs?: number
  /** How long the current one may take to let go. Default 5 s. */
  readonly releaseMs?: number
}

const PREPARE_MS = 60_000
const RELEASE_MS = 5_000
/** Beyond the drain time: closing files, and answers on their way. */
const STOP_GRACE_MS = 5_000
/** After a second signal. */
const AT_ONCE_GRACE_MS = 2_000

/** A gateway and how far it is. */
interface Life {
  readonly process: GatewayProcess
  readonly startedMs: number
  readonly heartbeat: Heartbeat
  state: 'preparing' | 'prepared' | 'open' | 'serving'
  timer: NodeJS.Timeout | undefined
}

export class Parent {
  readonly #options: ParentOptions
  readonly #delay = new RestartDelay()
  readonly #end = Promise.withResolvers<number>()
  #current: Life | undefined
  #next: Life | undefined
  #former: Life | undefined
  /** Who asked over the command socket and waits for an answer. */
  #asker: Life | undefined
  #isRestartAsked = false
  #hasServed = false
  #reviving: NodeJS.Timeout | undefined
  #stopSignals = 0
  #exitCode = 0

  constructor(options: ParentOptions) {
    this.#options = options
  }

  /**
   * Starts the first gateway. Resolves with the exit code: that of the gateway, when it could not
   * start the first time or when it was told to stop.
   */
  run(): Promise<number> {
    this.#current = this.#start()
    return this.#end.promise
  }

  /** Tells the gateway to finish and end; told again, to end at once. */
  stop(signal: string): void {
    this.#stopSignals += 1
    clearTimeout(this.#reviving)
    this.#next?.process.kill()
    const current = this.#current
    const isFirst = this.#stopSignals === 1
    if (current?.state === 'preparing' || current?.state === 'prepared') current.process.kill()
    else current?.process.order({ kind: isFirst ? 'stop' : 'stop-at-once', why: signal })
    if (!isFirst) this.#former?.process.order({ kind: 'stop-at-once', why: signal })
    const patienceMs = isFirst ? this.#options.drainMs + STOP_GRACE_MS : AT_ONCE_GRACE_MS
    setTimeout(() => this.#killAll(patienceMs), patienceMs).unref()
    this.#endIfAlone()
  }

  /** Tells the gateway to read tokens and certificate again. */
  reload(): void {
    if (this.#current?.state === 'serving') this.#current.process.order({ kind: 'reload' })
  }

  /**
   * Replaces the gateway by a new one, which takes over once it has found configuration, certificate
   * and tokens good. Until then, and if it does not, the one that runs goes on.
   */
  restart(why: string): void {
    const { say } = this.#options
    if (this.#stopSignals > 0) return
    if (this.#next !== undefined) {
      say('warn', 'restart', `${why}: a restart is under way already`)
      this.#answer(this.#next.process.pid, 'a restart is under way already')
    } else if (this.#current === undefined) {
      say('info', 'restart', `${why}: starting the gateway now`)
      this.#revive()
    } else if (this.#former !== undefined) {
      const { pid } = this.#former.process
      say('info', 'restart', `${why}: waiting for the gateway before (pid ${pid}) to finish`)
      this.#isRestartAsked = true
    } else {
      const next = this.#start()
      this.#next = next
      const { prepareMs = PREPARE_MS } = this.#options
      this.#limit(next, prepareMs, 'did not get ready')
      const { pid } = next.process
      say('info', 'restart', `${why}: a new gateway (pid ${pid}) gets ready`, { child: pid })
    }
  }

  #start(): Life {
    const { start, nowMs } = this.#options
    const process = start({
      onReport: (report) => this.#onReport(life, report),
      onEnd: (ending) => this.#onEnd(life, ending),
    })
    const life: Life = {
      process,
      heartbeat: new Heartbeat({
        gateway: process,
        onSilent: (silentMs) => this.#kill(life, `has not answered for ${silentMs / 1000} s`),
      }),
      startedMs: nowMs(),
      state: 'preparing',
      timer: undefined,
    }
    return life
  }

  #onReport(life: Life, { kind }: Report): void {
    if (kind === 'alive') life.heartbeat.answered()
    else if (kind === 'prepared') {
      life.state = 'prepared'
      clearTimeout(life.timer)
      if (life === this.#current) this.#open(life)
      else if (life === this.#next) this.#handOver(life)
    } else if (kind === 'serving') {
      life.state = 'serving'
      this.#hasServed = true
    } else if (kind === 'released') {
      if (life === this.#current) this.#succeed(life)
    } else if (life === this.#current) {
      this.#asker = life
      this.restart('Asked by a command')
    }
  }

  #open(life: Life): void {
    life.state = 'open'
    life.process.order({ kind: 'open', isFirst: !this.#hasServed })
  }

  #handOver(next: Life): void {
    const { pid } = next.process
    this.#answer(pid)
    const current = this.#current
    if (current === undefined) return
    const { say, releaseMs = RELEASE_MS } = this.#options
    say('info', 'restart', `The new gateway (pid ${pid}) is ready and takes over`, { child: pid })
    current.process.order({ kind: 'hand-over' })
    this.#limit(current, releaseMs, 'did not let go')
  }

  #succeed(life: Life): void {
    clearTimeout(life.timer)
    if (this.#stopSignals > 0) return
    this.#former = life
    this.#limit(life, this.#options.drainMs + STOP_GRACE_MS, 'did not finish')
    // Should the next one have died since, there is no way back: another takes its place.
    this.#current = this.#next ?? this.#start()
    this.#next = undefined
    if (this.#current.state === 'prepared') this.#open(this.#current)
  }

  #onEnd(life: Life, ending: Ending): void {
    clearTimeout(life.timer)
    life.heartbeat.stop()
    if (life === this.#asker) this.#asker = undefined
    if (life === this.#next) this.#nextEnded(life, ending)
    else if (life === this.#former) this.#formerEnded(life, ending)
    else this.#currentEnded(life, ending)
    this.#endIfAlone()
  }

  #nextEnded(life: Life, ending: Ending): void {
    this.#next = undefined
    if (this.#stopSignals > 0) return
    const { pid } = life.process
    const problem = `the new gateway (pid ${pid}) could not start: ${inWords(ending)}`
    const goesOn = 'The one before goes on; what it says is above'
    this.#tell('error', 'restart', `${capital(problem)}. ${goesOn}`, pid, ending)
    this.#answer(pid, `${problem}; the log says why. The one before goes on`)
  }

  #formerEnded(life: Life, ending: Ending): void {
    this.#former = undefined
    const { pid } = life.process
    if (ending.code !== 0) {
      this.#exitCode = 1
      this.#tell(
        'warn',
        'gateway_ended',
        `The gateway before (pid ${pid}) ended: ${inWords(ending)}`,
        pid,
        ending,
      )
    }
    if (!this.#isRestartAsked || this.#stopSignals > 0) return
    this.#isRestartAsked = false
    this.restart('Asked before')
  }

  #currentEnded(life: Life, ending: Ending): void {
    const { nowMs } = this.#options
    this.#current = undefined
    if (this.#stopSignals > 0) {
      const wasOpen = life.state === 'open' || life.state === 'serving'
      if (wasOpen) this.#exitCode = Math.max(this.#exitCode, ending.code ?? 1)
      return
    }
    if (!this.#hasServed) {
      this.#end.resolve(codeOf(ending))
      return
    }
    const { pid } = life.process
    const ended = `The gateway (pid ${pid}) ended and was not asked to: ${inWords(ending)}`
    if (this.#next !== undefined) {
      this.#tell('error', 'gateway_ended', `${ended}. The next one takes its place`, pid, ending)
      this.#current = this.#next
      this.#next = undefined
      if (this.#current.state === 'prepared') this.#open(this.#current)
      return
    }
    const { delayMs, earlyDeaths, deservesWord } = this.#delay.died(nowMs() - life.startedMs)
    const when = delayMs === 0 ? 'now' : `in ${delayMs / 1000} s`
    const waits = 'Connections wait meanwhile'
    this.#tell(
      'error',
      'gateway_ended',
      `${ended}. Starting it again ${when}. ${waits}`,
      pid,
      ending,
    )
    if (deservesWord) {
      const words = `The gateway has died ${earlyDeaths} times in a row within a minute of its start. It is tried again every 10 s at most; what it says is above`
      this.#options.say('error', 'gateway_ended', words)
    }
    this.#reviving = setTimeout(() => this.#revive(), delayMs)
  }

  #revive(): void {
    clearTimeout(this.#reviving)
    this.#current = this.#start()
  }

  #answer(pid: number, problem?: string): void {
    this.#asker?.process.order({
      kind: 'restart-outcome',
      pid,
      ...(problem === undefined ? {} : { problem }),
    })
    this.#asker = undefined
  }

  /** Ends a gateway that takes too long. What follows comes with its end. */
  #limit(life: Life, patienceMs: number, what: string): void {
    const words = `${what} within ${patienceMs / 1000} s`
    life.timer = setTimeout(() => this.#kill(life, words), patienceMs)
  }

  #kill(life: Life, why: string): void {
    const { pid } = life.process
    const words = `The gateway (pid ${pid}) ${why} and is killed`
    this.#options.say('error', 'gateway_ended', words, { child: pid })
    life.process.kill()
  }

  #killAll(patienceMs: number): void {
    for (const life of [this.#current, this.#next, this.#former]) {
      if (life !== undefined) this.#kill(life, `did not stop within ${patienceMs / 1000} s`)
    }
  }

  #endIfAlone(): void {
    if (this.#stopSignals === 0) return
    if (this.#current ?? this.#next ?? this.#former) return
    this.#end.resolve(this.#exitCode)
  }

  #tell(
    severity: 'warn' | 'error',
    event: 'gateway_ended' | 'restart',
    words: string,
    pid: number,
    { code, signal }: Ending,
  ): void {
    this.#options.say(severity, event, words, {
      child: pid,
      ...(code === undefined ? {} : { code }),
      ...(signal === undefined ? {} : { signal }),
    })
  }
}

function inWords({ code, signal }: Ending): string {
  return signal === undefined ? `exit code ${code}` : `killed by ${signal}`
}

/** As a shell counts: 128 and the number of the signal. */
function codeOf({ code, signal }: Ending): number {
  return code ?? 128 + (signal === undefined ? 0 : constants.signals[signal])
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
