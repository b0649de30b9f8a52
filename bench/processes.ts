/** Starting and stopping the programs of a run, and what the kernel says they have used. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** A program that runs in the foreground until `stop`. */
export interface Running {
  readonly pid: number
  readonly logPath: string
  /** Asks it to end (SIGTERM), and makes it end after fifteen seconds. */
  stop(): Promise<void>
}

/**
 * Starts a program in a directory of its own, its output going to `log` there, and waits until all `ports` of 127.0.0.1 take
 * connections. Throws with the end of the log where it does not come up within ten seconds.
 */
export async function start(
  command: readonly [string, ...string[]],
  options: { directory: string; ports: readonly number[]; env?: Record<string, string> },
): Promise<Running> {
  const { directory, ports } = options
  const logPath = join(directory, 'log')
  const log = openSync(logPath, 'w')
  const [program, ...args] = command
  const child = spawn(program, args, {
    stdio: ['ignore', log, log],
    cwd: directory,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...options.env },
  })
  closeSync(log)
  const pid = await pidOf(child, program)
  const stop = () => end(child)
  const untilMs = performance.now() + 10_000
  for (const port of ports) {
    while (!(await takesConnections(port))) {
      if (child.exitCode !== null || performance.now() > untilMs) {
        await stop()
        const tail = readFileSync(logPath, 'utf8').split('\n').slice(-20).join('\n')
        throw new Error(`${program} does not listen on port ${port}. Its log ends:\n${tail}`)
      }
      await sleep(50)
    }
  }
  return { pid, logPath, stop }
}

async function pidOf(child: ChildProcess, program: string): Promise<number> {
  if (child.pid === undefined) await once(child, 'spawn')
  if (child.pid === undefined) throw new Error(`${program} could not be started`)
  return child.pid
}

/** Ends a child and waits until it has. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 15_000)
  await exited
  clearTimeout(timer)
}

function takesConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/** The first of `count` free ports in a row, looked for from `from` upwards, below the ephemeral ones. */
export async function freePorts(from: number, count: number): Promise<number[]> {
  for (let first = from; first + count < 32_768; first += count) {
    const ports = Array.from({ length: count }, (_, index) => first + index)
    const taken = await Promise.all(ports.map(takesConnections))
    if (!taken.includes(true)) return ports
  }
  throw new Error(`No ${count} free ports in a row between ${from} and 32767`)
}

/** A process and all its descendants. */
export function processTree(root: number): number[] {
  const parents = new Map<number, number>()
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const stat = readProc(`/proc/${entry}/stat`)
    if (stat !== undefined) parents.set(Number(entry), Number(statFields(stat)[1]))
  }
  const tree = [root]
  for (const pid of tree) {
    for (const [child, parent] of parents) if (parent === pid) tree.push(child)
  }
  return tree
}

const TICK_US = 10_000

/**
 * User and system time the processes have used, in microseconds. Read in nanoseconds from the
 * threads where the kernel shows them (`/proc/PID/task/TID/schedstat`); the clock of
 * `/proc/PID/stat` has ticks of 10 ms, and counts threads that have ended too: the larger of the
 * two differences is right to within a tick.
 */
export interface CpuReading {
  readonly ticksUs: number
  readonly threadsUs: number
}

export function readCpu(pids: readonly number[]): CpuReading {
  let ticksUs = 0
  let threadsUs = 0
  for (const pid of pids) {
    const fields = statFields(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    ticksUs += (Number(fields[11]) + Number(fields[12])) * TICK_US
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const schedstat = readProc(`/proc/${pid}/task/${thread}/schedstat`)
      threadsUs += Number(schedstat?.split(' ')[0] ?? 0) / 1000
    }
  }
  return { ticksUs, threadsUs }
}

/** CPU time between two readings in microseconds. */
export function cpuBetweenUs(before: CpuReading, after: CpuReading): number {
  const ticksUs = after.ticksUs - before.ticksUs
  const threadsUs = after.threadsUs - before.threadsUs
  return Math.abs(ticksUs - threadsUs) <= 2 * TICK_US ? threadsUs : ticksUs
}

/** Time all processors of the machine have been busy, in microseconds. */
export function readMachineBusyUs(): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] =
    readFileSync('/proc/stat', 'utf8')
      .split('\n', 1)[0]
      ?.trim()
      .split(/\s+/)
      .slice(1)
      .map(Number) ?? []
  return (user + nice + system + irq + softirq) * TICK_US
}

/** User and system time of ended children of this process, in microseconds. */
export function readEndedChildrenUs(): number {
  const fields = statFields(readFileSync('/proc/self/stat', 'utf8'))
  return (Number(fields[13]) + Number(fields[14])) * TICK_US
}

/** Resident memory of the processes in kB: now, and the most so far (the sum of each one's most). */
export function readMemory(pids: readonly number[]): { rssKb: number; peakKb: number } {
  let rssKb = 0
  let peakKb = 0
  for (const pid of pids) {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    rssKb += Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0)
    peakKb += Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0)
  }
  return { rssKb, peakKb }
}

/** Forgets the peaks so far (proc(5), clear_refs 5), so that the next reading is of one scenario. */
export function resetPeaks(pids: readonly number[]): void {
  for (const pid of pids) writeFileSync(`/proc/${pid}/clear_refs`, '5')
}

/** Fields of /proc/PID/stat from the state on; the name before them may hold spaces and brackets. */
function statFields(stat: string): string[] {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
