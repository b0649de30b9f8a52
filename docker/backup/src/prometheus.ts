/** The HTTP API of a Prometheus, as far as backups need it. */
import { isAbsolute, resolve } from 'node:path'
import { said } from './unusable.ts'

const ASK_MS = 30_000
/** The head is written out as a block first. */
const SNAPSHOT_MS = 10 * 60_000
const MAX_ANSWER_BYTES = 64 * 1024 * 1024

/** One value of an instant query. */
export interface Sample {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [number, string]
}

/** An answer that is none, or an error, in words. */
export class PrometheusFault extends Error {
  override readonly name = 'PrometheusFault'
}

export class Prometheus {
  readonly url: string

  constructor(url: string) {
    this.url = url
  }

  /** Its version: `3.16.0`. */
  async version(signal?: AbortSignal): Promise<string> {
    const data = await this.#ask<{ version?: string }>('GET', 'status/buildinfo', { signal })
    return data.version ?? 'unknown'
  }

  /** Makes a snapshot of everything up to now; resolves with its name below `snapshots/`. */
  async snapshot(signal?: AbortSignal): Promise<string> {
    const data = await this.#ask<{ name?: string }>('POST', 'admin/tsdb/snapshot', {
      ...{ signal, timeoutMs: SNAPSHOT_MS },
    })
    if (data.name === undefined || !/^[\w-]+$/.test(data.name))
      throw new PrometheusFault(`${this.url} gave the snapshot no name`)
    return data.name
  }

  /** An instant query at a time in Unix milliseconds. */
  async query(
    expr: string,
    timeMs: number,
    options: { readonly signal?: AbortSignal | undefined; readonly timeoutMs?: number } = {},
  ): Promise<readonly Sample[]> {
    const body = new URLSearchParams({ query: expr, time: String(timeMs / 1000) })
    const data = await this.#ask<{ result?: readonly Sample[] }>('POST', 'query', {
      ...options,
      body,
    })
    return data.result ?? []
  }

  /** The names of all metrics that it has samples of. */
  async names(signal?: AbortSignal): Promise<readonly string[]> {
    return await this.#ask<readonly string[]>('GET', 'label/__name__/values', { signal })
  }

  /**
   * Whether it runs, and its data is in this directory, by the path that it was started with. A
   * relative one may be any, and counts.
   */
  async uses(directory: string): Promise<boolean> {
    if (!(await this.#get('-/healthy'))) return false
    const flags = await this.#ask<Readonly<Record<string, string>>>('GET', 'status/flags', {})
    const path = flags['storage.tsdb.path'] ?? ''
    return !isAbsolute(path) || resolve(path) === directory
  }

  /** Whether it has read its data and answers queries. */
  async isReady(): Promise<boolean> {
    return await this.#get('-/ready')
  }

  /** One number of its own metrics; undefined where it has none of that name. */
  async ownMetric(name: string): Promise<number | undefined> {
    const answer = await fetch(`${this.url}/metrics`, { signal: AbortSignal.timeout(ASK_MS) })
    const line = new RegExp(`^${name}(?:\\{\\})? (\\S+)$`, 'm').exec(await answer.text())
    return line?.[1] === undefined ? undefined : Number(line[1])
  }

  async #get(path: string): Promise<boolean> {
    try {
      const answer = await fetch(`${this.url}/${path}`, { signal: AbortSignal.timeout(ASK_MS) })
      await answer.arrayBuffer()
      return answer.ok
    } catch {
      return false
    }
  }

  async #ask<T>(
    method: string,
    path: string,
    {
      signal,
      body,
      timeoutMs = ASK_MS,
    }: {
      readonly signal?: AbortSignal | undefined
      readonly body?: URLSearchParams
      readonly timeoutMs?: number
    },
  ): Promise<T> {
    const url = `${this.url}/api/v1/${path}`
    const limit = AbortSignal.timeout(timeoutMs)
    let text: string
    let status: number
    try {
      const answer = await fetch(url, {
        method,
        signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
        ...(body === undefined ? {} : { body }),
      })
      status = answer.status
      text = await bounded(answer)
    } catch (error) {
      signal?.throwIfAborted()
      throw new PrometheusFault(`${url}: ${said(error)}`, { cause: error })
    }
    const answer = parsed(text)
    if (status === 200 && answer?.status === 'success') return answer.data as T
    const why = typeof answer?.error === 'string' ? answer.error : text.trim().slice(0, 200)
    throw new PrometheusFault(`${url}: status ${status}: ${hinted(why)}`)
  }
}

function hinted(why: string): string {
  return /admin APIs disabled/i.test(why) ? `${why}; start it with --web.enable-admin-api` : why
}

async function bounded(answer: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of answer.body ?? []) {
    bytes += chunk.length
    if (bytes > MAX_ANSWER_BYTES) throw new Error('the answer is larger than 64 MiB')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parsed(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return JSON.parse(text) as Readonly<Record<string, unknown>>
  } catch {
    return undefined
  }
}
