/** A child process of a test: its lines as they come, and its end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

export interface ChildOptions {
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly cwd?: string
  /** Written to standard input, which is closed otherwise. */
  readonly input?: string | Uint8Array
  /** Open descriptors that it gets as 3, 4 and so on. */
  readonly descriptors?: readonly number[]
}

/** How a process ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A running program whose output is kept line by line. */
export class Child {
  readonly stdout: string[] = []
  readonly stderr: string[] = []
  /** Settles when the process has ended and its output was read to the end. */
  readonly exit: Promise<Exit>
  readonly #child: ChildProcess
  readonly #watchers = new Set<() => void>()
  readonly #name: string
  #hasEnded = false

  constructor(program: string, args: readonly string[], options: ChildOptions = {}) {
    this.#name = [program, ...args].join(' ').slice(0, 200)
    this.#child = spawn(program, args, {
      stdio: [
        options.input === undefined ? 'ignore' : 'pipe',
        'pipe',
        'pipe',
        ...(options.descriptors ?? []),
      ],
      cwd: options.cwd,
      env: options.env ?? process.env,
    })
    this.#child.stdin?.on('error', () => {})
    if (options.input !== undefined) this.#child.stdin?.end(options.input)
    this.#keep('stdout')
    this.#keep('stderr')
    this.exit = this.#ended()
    this.exit.catch(() => {})
  }

  /** Process id. */
  get pid(): number {
    const { pid } = this.#child
    if (pid === undefined) throw new Error(`${this.#name} did not start`)
    return pid
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Both outputs as text, for messages. */
  get output(): string {
    return `${this.#name}\n${[...this.stdout, ...this.stderr].slice(-60).join('\n')}`
  }

  /** The first line that `pick` makes something of, past or to come. Throws when there will be none. */
  async line<T>(
    from: 'stdout' | 'stderr',
    pick: (line: string) => T | undefined,
    timeoutMs = 30_000,
  ): Promise<T> {
    let next = 0
    const look = (): T | undefined => {
      const lines = this[from]
      while (next < lines.length) {
        const found = pick(lines[next] ?? '')
        next += 1
        if (found !== undefined) return found
      }
      return undefined
    }
    return await new Promise<T>((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer)
        this.#watchers.delete(check)
        act()
      }
      const check = () => {
        const found = look()
        if (found !== undefined) settle(() => resolve(found))
        else if (this.#hasEnded)
          settle(() => reject(new Error(`ended without the line awaited: ${this.output}`)))
      }
      const timer = setTimeout(() => {
        settle(() => reject(new Error(`${timeoutMs} ms without the line awaited: ${this.output}`)))
      }, timeoutMs)
      this.#watchers.add(check)
      check()
    })
  }

  #keep(from: 'stdout' | 'stderr'): void {
    const stream = this.#child[from]
    if (stream === null) return
    createInterface({ input: stream }).on('line', (line) => {
      this[from].push(line)
      for (const watcher of this.#watchers) watcher()
    })
  }

  async #ended(): Promise<Exit> {
    try {
      const [code, signal] = (await once(this.#child, 'close')) as [Exit['code'], Exit['signal']]
      return { code, signal }
    } finally {
      this.#hasEnded = true
      // The last lines are handed out after 'close': let them go first.
      setImmediate(() => {
        for (const watcher of this.#watchers) watcher()
      })
    }
  }
}

/** Runs a program to its end. Throws where it takes longer than `timeoutMs`; its exit code is not judged. */
export async function runToEnd(
  program: string,
  args: readonly string[],
  options: ChildOptions & { readonly timeoutMs?: number } = {},
): Promise<Exit & { readonly stdout: string; readonly stderr: string }> {
  const child = new Child(program, args, options)
  const timeoutMs = options.timeoutMs ?? 60_000
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`not done after ${timeoutMs} ms: ${child.output}`))
    }, timeoutMs)
  })
  try {
    const exit = await Promise.race([child.exit, late])
    return { ...exit, stdout: child.stdout.join('\n'), stderr: child.stderr.join('\n') }
  } finally {
    clearTimeout(timer)
  }
}
