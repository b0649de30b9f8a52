/**
 * Delivers a token by a program of the operator's own (`exec:/usr/local/bin/push-token`): the token
 * on its standard input, who it is for in its environment, and one line about it on its output.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { blanked, endOfText } from './blanked.ts'
import type { Delivery, TokenInPlain } from './delivery.ts'
import type { Place } from './place.ts'
import { SourceFault } from './source-fault.ts'

export interface ExecDeliveryOptions {
  /** How long the program may run. */
  readonly timeoutMs: number
}

/** What is kept of each output; the rest is read and dropped, so that the program does not stall. */
const MAX_OUTPUT_LETTERS = 65_536
const MAX_SHOWN_LETTERS = 500
/** From the request to end until the program is ended. */
const KILL_AFTER_MS = 2000
/** For what a program wrote just before its end; one that left a child behind keeps the pipe open. */
const OUTPUT_AFTER_EXIT_MS = 500

interface Ending {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly isLate: boolean
}

/**
 * No shell is involved: the path is the whole command. The program gets the gateway's environment
 * without `TOLLGATE_…`, as credentials are among those; `TOLLGATE_TOKEN_ID` and `TOLLGATE_HOLDER`
 * come in their place. It must end with status 0 within the time limit, else it and the programs it
 * started are ended.
 */
export class ExecDelivery implements Delivery {
  readonly place: string
  readonly #path: string
  readonly #timeoutMs: number
  readonly #running = new Set<ChildProcess>()

  /** @throws {SourceFault} where something stands behind a `#`. */
  constructor(place: Place, { timeoutMs }: ExecDeliveryOptions) {
    this.place = place.text
    this.#path = resolve(place.path)
    this.#timeoutMs = timeoutMs
    if (place.field !== undefined) {
      this.#refuse(
        'a program has no part behind a #',
        'write its path alone: exec:/path/to/program',
      )
    }
  }

  async check(): Promise<string> {
    const stats = await stat(this.#path).catch((error: NodeJS.ErrnoException) => {
      return this.#refuse(
        `cannot find ${this.#path} (${error.code})`,
        'write the path of an executable file, absolute or from the working directory',
        error,
      )
    })
    if (!stats.isFile()) this.#refuse(`${this.#path} is not a file`, 'write the path of a program')
    await access(this.#path, constants.X_OK).catch((error: unknown) => {
      this.#refuse(`${this.#path} is not executable`, `chmod +x ${this.#path}`, error)
    })
    return `would run ${this.#path} with the token on its standard input`
  }

  async deliver(token: TokenInPlain): Promise<string> {
    await this.check()
    const child = spawn(this.#path, [], {
      env: environmentFor(token),
      stdio: 'pipe',
      // A process group of its own, so that what it starts can be ended with it.
      detached: true,
    })
    this.#running.add(child)
    try {
      const [stdout, stderr] = [outputOf(child.stdout, 'head'), outputOf(child.stderr, 'tail')]
      // A program that does not read its input closes the pipe: its status says whether that is well.
      child.stdin.on('error', () => undefined)
      child.stdin.end(`${token.token}\n`)
      const ending = await this.#ended(child)
      const said = endOfText(blanked(stderr(), token.token), MAX_SHOWN_LETTERS)
      this.#judge(ending, said)
      const [line = ''] = stdout()
        .trimStart()
        .split(/[\r\n]/, 1)
      const report = blanked(line, token.token).slice(0, MAX_SHOWN_LETTERS)
      return report === '' ? `${this.#path} ended well, and said nothing` : report
    } finally {
      this.#running.delete(child)
      child.stdout.destroy()
      child.stderr.destroy()
    }
  }

  /** Ends what still runs. */
  async close(): Promise<void> {
    for (const child of this.#running) endGroup(child, 'SIGKILL')
  }

  #ended(child: ChildProcess): Promise<Ending> {
    return new Promise((resume, fail) => {
      let isLate = false
      let kill: NodeJS.Timeout | undefined
      const limit = setTimeout(() => {
        isLate = true
        endGroup(child, 'SIGTERM')
        kill = setTimeout(() => endGroup(child, 'SIGKILL'), KILL_AFTER_MS)
      }, this.#timeoutMs)
      child.once('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(limit)
        clearTimeout(kill)
        try {
          this.#refuse(...spawnProblem(this.#path, error), error)
        } catch (fault) {
          fail(fault)
        }
      })
      child.once('exit', (status, signal) => {
        clearTimeout(limit)
        clearTimeout(kill)
        // The group outlives its leader when that ended on the request and its children did not.
        if (isLate) endGroup(child, 'SIGKILL')
        const ending = { status, signal, isLate }
        const output = setTimeout(() => resume(ending), OUTPUT_AFTER_EXIT_MS)
        child.once('close', () => {
          clearTimeout(output)
          resume(ending)
        })
      })
    })
  }

  #judge({ status, signal, isLate }: Ending, said: string): void {
    if (status === 0 && !isLate) return
    const words = said === '' ? 'it said nothing on its standard error' : `it said: ${said}`
    if (isLate) {
      const problem = `${this.#path} was ended after ${this.#timeoutMs / 1000} s without result; ${words}`
      throw new SourceFault(this.place, problem, 'make it quicker, or see what it waits for', {
        isTemporary: true,
      })
    }
    const how = signal === null ? `ended with status ${status}` : `was killed by ${signal}`
    throw new SourceFault(
      this.place,
      `${this.#path} ${how}; ${words}`,
      'the token counts as not delivered until it ends with status 0',
      { isTemporary: false },
    )
  }

  #refuse(problem: string, advice: string, cause?: unknown): never {
    throw new SourceFault(this.place, problem, advice, { isTemporary: false, cause })
  }
}

function environmentFor({ id, holder }: TokenInPlain): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('TOLLGATE_'))
  return { ...Object.fromEntries(kept), TOLLGATE_TOKEN_ID: id, TOLLGATE_HOLDER: holder }
}

/** Gathers one side of an output from now on; the function gives what has come so far. */
function outputOf(stream: Readable, side: 'head' | 'tail'): () => string {
  let text = ''
  let isCut = false
  stream.setEncoding('utf8')
  stream.on('data', (chunk: string) => {
    if (isCut && side === 'head') return
    text += chunk
    isCut ||= text.length > MAX_OUTPUT_LETTERS
    if (!isCut) return
    text = side === 'head' ? text.slice(0, MAX_OUTPUT_LETTERS) : text.slice(-MAX_OUTPUT_LETTERS)
  })
  stream.on('error', () => undefined)
  // Where it was cut may be within a token, which nobody would know for one any more.
  return () => (isCut ? text.replace(side === 'head' ? /\S*$/ : /^\S*/, '') : text)
}

function spawnProblem(path: string, error: NodeJS.ErrnoException): [string, string] {
  if (error.code === 'ENOENT') {
    return [
      `the program that ${path} names in its first line is missing`,
      'install it, or correct the line that begins with #!',
    ]
  }
  if (error.code === 'ENOEXEC') {
    return [
      `${path} is neither a program of this machine nor a script with a #! line`,
      'begin a script with #!/bin/sh',
    ]
  }
  return [`cannot run ${path} (${error.code})`, 'see whether this user may run it']
}

function endGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch {
    // Nothing of it is left.
  }
}
