/**
 * Runs a program that makes gRPC calls with somebody's library. It takes one JSON command a line and
 * says one JSON line for each, in any order; at the end of its input it ends.
 *
 * - `connect` names a connection. `ca` is the path of the CA certificate; empty for plaintext.
 *   `keepaliveMs` asks for keepalive pings, with and without calls; 0 for none.
 * - `call` makes one call on a connection, with the bytes of `file` as the message. Values of
 *   metadata whose name ends with `-bin` are base64, both ways. `timeoutMs` 0 is no deadline. With
 *   `waits` the call waits for a connection instead of failing.
 * - `many` makes `count` calls, `parallel` at a time; the message of each is its number in four
 *   bytes (big-endian), then the bytes of `file`.
 * - `cancel` cancels a call; only the call says something.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { tool } from '../../support/tools.ts'

export interface ConnectCommand {
  readonly op: 'connect'
  readonly id: number
  readonly name: string
  readonly target: string
  readonly ca: string
  readonly keepaliveMs: number
}

export interface CallCommand {
  readonly op: 'call' | 'many'
  readonly id: number
  /** Of the connection. */
  readonly name: string
  readonly path: string
  readonly file: string
  readonly gzip: boolean
  readonly timeoutMs: number
  readonly waits: boolean
  readonly metadata: readonly (readonly [name: string, value: string])[]
}

export interface ManyCommand extends CallCommand {
  readonly op: 'many'
  readonly count: number
  readonly parallel: number
}

export interface CancelCommand {
  readonly op: 'cancel'
  readonly call: number
}

export type Command =
  | ConnectCommand
  | (CallCommand & { readonly op: 'call' })
  | ManyCommand
  | CancelCommand

/** How a call ended. */
export interface CallReply {
  readonly id: number
  /** gRPC status code. */
  readonly code: number
  readonly message: string
  /** The response message in base64; null where there was none. */
  readonly body: string | null
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly trailers: readonly (readonly [name: string, value: string])[]
}

/** How many calls ended. */
export interface ManyReply {
  readonly id: number
  /** Calls by status code. */
  readonly codes: Readonly<Record<string, number>>
  readonly firstError: string
}

export type Reply = { readonly id: number } | CallReply | ManyReply

/** The libraries. */
export const LIBRARIES = ['grpc-go', 'grpc-java', 'grpc-python', 'grpc-js', 'tonic'] as const
export type Library = (typeof LIBRARIES)[number]

/** What they need of `.ci/tools`. */
export const CLIENT_TOOLS: Readonly<Record<Library, readonly string[]>> = {
  'grpc-go': ['go-client'],
  'grpc-java': ['java', 'java-client'],
  'grpc-python': ['python-sender'],
  'grpc-js': [],
  tonic: ['rust-client'],
}

const HERE = fileURLToPath(new URL('.', import.meta.url))

function commandOf(library: Library): readonly [program: string, args: readonly string[]] {
  switch (library) {
    case 'grpc-go':
      return [tool('go-client'), []]
    case 'grpc-java': {
      const jar = tool('java-client')
      const classPath = `${jar}:${jar.replace(/[^/]*$/, 'dependency/*')}`
      return [tool('java'), ['-XX:TieredStopAtLevel=1', '-cp', classPath, 'Client']]
    }
    case 'grpc-python':
      return [tool('python-sender'), [`${HERE}python/client.py`]]
    case 'grpc-js':
      return [process.execPath, ['--disable-warning=ExperimentalWarning', `${HERE}js/client.ts`]]
    case 'tonic':
      return [tool('rust-client'), []]
  }
}

/** Where a test is silent about a call. */
export interface CallOptions {
  readonly gzip?: boolean
  readonly timeoutMs?: number
  readonly waits?: boolean
  readonly metadata?: CallCommand['metadata']
  readonly path?: string
}

/** A call under way. */
export interface StartedCall {
  readonly reply: Promise<CallReply>
  cancel(): void
}

export const EXPORT_PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'

/** A running client program. */
export class Driver {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>
  readonly #waiting = new Map<
    number,
    { resolve: (reply: Reply) => void; reject: (error: Error) => void }
  >()
  readonly #errors: string[] = []
  readonly #ended: Promise<number | null>
  #lastId = 0

  constructor(library: Library) {
    const [program, args] = commandOf(library)
    const env = Object.fromEntries(
      Object.entries(process.env).filter(
        ([name]) => !/^((https?|all|no)_proxy|GRPC_.*)$/i.test(name),
      ),
    )
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env })
    this.#child.stdin.on('error', () => {})
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const reply = JSON.parse(line) as Reply
      this.#waiting.get(reply.id)?.resolve(reply)
      this.#waiting.delete(reply.id)
    })
    createInterface({ input: this.#child.stderr }).on('line', (line) => this.#errors.push(line))
    this.#ended = new Promise((resolve, reject) => {
      this.#child.on('error', reject)
      this.#child.on('close', resolve)
    })
    const giveUp = (words: string) => {
      const error = new Error(`${library} ${words}: ${this.#errors.slice(-20).join('\n')}`)
      for (const { reject } of this.#waiting.values()) reject(error)
      this.#waiting.clear()
    }
    this.#ended.then(
      (code) => giveUp(`ended with code ${code}`),
      (error: unknown) => giveUp(String(error)),
    )
  }

  /** What it wrote to standard error. */
  get errors(): readonly string[] {
    return this.#errors
  }

  async connect(name: string, target: string, ca = '', keepaliveMs = 0): Promise<void> {
    const id = this.#nextId()
    await this.#ask({ op: 'connect', id, name, target, ca, keepaliveMs })
  }

  /** Starts a call with the bytes of a file. */
  start(name: string, file: string, options: CallOptions = {}): StartedCall {
    const id = this.#nextId()
    const command = { op: 'call', id, name, file, ...withDefaults(options) } as const
    const reply = this.#ask(command) as Promise<CallReply>
    reply.catch(() => {})
    return { reply, cancel: () => this.#write({ op: 'cancel', call: id }) }
  }

  /** Makes a call and waits for its end. */
  call(name: string, file: string, options: CallOptions = {}): Promise<CallReply> {
    return this.start(name, file, options).reply
  }

  /** Makes many calls, numbered from 0. */
  async many(
    name: string,
    file: string,
    { count, parallel, ...options }: CallOptions & { count: number; parallel: number },
  ): Promise<ManyReply> {
    const id = this.#nextId()
    const command = {
      op: 'many',
      id,
      name,
      file,
      count,
      parallel,
      ...withDefaults(options),
    } as const
    return (await this.#ask(command)) as ManyReply
  }

  /** Closes its input and waits for its end. Throws where it does not end well. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end()
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 20_000)
    const code = await this.#ended
    clearTimeout(timer)
    if (code !== 0) throw new Error(`ended with code ${code}: ${this.#errors.join('\n')}`)
  }

  #nextId(): number {
    this.#lastId += 1
    return this.#lastId
  }

  #ask(command: Exclude<Command, CancelCommand>): Promise<Reply> {
    const { promise, resolve, reject } = Promise.withResolvers<Reply>()
    this.#waiting.set(command.id, { resolve, reject })
    this.#write(command)
    return promise
  }

  #write(command: Command): void {
    this.#child.stdin.write(`${JSON.stringify(command)}\n`)
  }
}

function withDefaults(options: CallOptions) {
  const { gzip = false, timeoutMs = 0, waits = false, metadata = [], path = EXPORT_PATH } = options
  return { gzip, timeoutMs, waits, metadata, path }
}
