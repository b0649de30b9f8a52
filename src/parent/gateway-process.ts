/** A gateway that runs as a child: what the parent knows of it and can do to it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { variablesFor } from './given-sockets.ts'
import type { HeldSocket } from './held-sockets.ts'
import { type Order, type Report, readReport } from './messages.ts'

/** How it ended. */
export interface Ending {
  /** Undefined where a signal ended it. */
  readonly code: number | undefined
  readonly signal: NodeJS.Signals | undefined
}

/** What the parent is told of it. */
export interface Listeners {
  onReport(report: Report): void
  /** It has ended, or could not be started at all. Told once. */
  onEnd(ending: Ending): void
}

/** As the parent sees a gateway. */
export interface GatewayProcess {
  /** 0 for one that could not be started. */
  readonly pid: number
  order(order: Order): void
  kill(): void
  /** Whether somebody has stopped it (SIGSTOP, a debugger). False where the system does not tell. */
  isStopped(): boolean
}

/** The program and its arguments, without node's own. */
export interface Program {
  readonly node: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
}

/** Starts a gateway with copies of the sockets, as descriptors from 3 on, and a channel behind them. */
export function startGatewayProcess(
  { node, args, env }: Program,
  sockets: readonly HeldSocket[],
  { onReport, onEnd }: Listeners,
): GatewayProcess {
  const descriptors = sockets.map(({ descriptor }) => descriptor)
  const names = sockets.map(({ name }) => name)
  const child: ChildProcess = spawn(node, args, {
    // The places of the array are the numbers of the descriptors.
    stdio: ['ignore', 'inherit', 'inherit', ...descriptors, 'ipc'],
    env: { ...env, ...variablesFor(names, process.pid) },
  })
  let hasEnded = false
  const end = (ending: Ending) => {
    if (hasEnded) return
    hasEnded = true
    onEnd(ending)
  }
  child.on('message', (message) => {
    const report = readReport(message)
    if (report !== undefined) onReport(report)
  })
  child.on('exit', (code, signal) => {
    end({ code: code ?? undefined, signal: signal ?? undefined })
  })
  // It could not be started, or a message did not reach it; the latter shows in its end.
  child.on('error', () => {
    if (child.pid === undefined) end({ code: EXIT_NOT_STARTED, signal: undefined })
  })
  return {
    pid: child.pid ?? 0,
    order(order) {
      if (child.connected) child.send(order, () => {})
    },
    kill() {
      child.kill('SIGKILL')
    },
    isStopped: () => child.pid !== undefined && isStopped(child.pid),
  }
}

/** By the state in /proc/PID/stat, behind the name in brackets: proc_pid_stat(5). */
function isStopped(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return /^ [Tt]/.test(stat.slice(stat.lastIndexOf(')') + 1))
  } catch {
    return false
  }
}

/** As a shell says it of a program that cannot be run. */
const EXIT_NOT_STARTED = 126
