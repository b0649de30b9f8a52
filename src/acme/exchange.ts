/** HTTPS with a certificate authority, within bounds: 30 seconds, half a mebibyte, no redirect, one CA file. */
import { Agent, type Dispatcher, request } from 'undici'
import { AcmeFault } from './acme-fault.ts'

const TIMEOUT_MS = 30_000
const CONNECT_MS = 10_000
const MAX_BYTES = 512 * 1024

/** One answer. */
export interface Answer {
  readonly status: number
  /** The header, or undefined. Names in lower case. */
  header(name: string): string | undefined
  readonly text: string
}

export interface Ask {
  readonly method: 'GET' | 'HEAD' | 'POST'
  readonly body?: string
  readonly accept?: string
}

export interface ExchangeOptions {
  /** PEM of the CA that signs the directory's own certificate; undefined for Node's. */
  readonly ca: string | undefined
  readonly userAgent: string
}

/** A connection to one certificate authority. */
export class Exchange {
  readonly #agent: Agent
  readonly #userAgent: string

  constructor({ ca, userAgent }: ExchangeOptions) {
    this.#userAgent = userAgent
    this.#agent = new Agent({
      connections: 1,
      maxResponseSize: MAX_BYTES,
      headersTimeout: TIMEOUT_MS,
      bodyTimeout: TIMEOUT_MS,
      connect: { timeout: CONNECT_MS, ...(ca === undefined ? {} : { ca }) },
    })
  }

  /** @throws {AcmeFault} `away` where no answer came, in words. The reason of `signal` where it was aborted. */
  async ask(url: string, { method, body, accept }: Ask, signal: AbortSignal): Promise<Answer> {
    if (!url.startsWith('https://'))
      throw new AcmeFault('away', `${url.slice(0, 200)}: expected an https URL`)
    let answer: Dispatcher.ResponseData
    let text: string
    try {
      answer = await request(url, {
        dispatcher: this.#agent,
        method,
        headers: {
          'user-agent': this.#userAgent,
          'accept-language': 'en',
          accept: accept ?? 'application/json, application/problem+json',
          ...(body !== undefined && { 'content-type': 'application/jose+json' }),
        },
        ...(body !== undefined && { body }),
        signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
      })
      text = await answer.body.text()
    } catch (cause) {
      signal.throwIfAborted()
      throw new AcmeFault('away', `${new URL(url).origin} ${wordsOf(cause)}`, { cause })
    }
    const { statusCode: status, headers } = answer
    return {
      status,
      text,
      header(name) {
        const value = headers[name]
        return Array.isArray(value) ? value[0] : value
      },
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy()
  }
}

function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return 'could not be asked'
  if (error.name === 'TimeoutError') return `did not answer within ${TIMEOUT_MS / 1000} s`
  const { code } = error as { code?: unknown }
  if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') {
    return `answered with more than ${MAX_BYTES / 1024} KiB`
  }
  const isUntrusted =
    typeof code === 'string' && /SELF_SIGNED|UNABLE_TO_|UNTRUSTED|CERT_/.test(code)
  const hint = isUntrusted ? '; a private directory needs its CA in TOLLGATE_ACME_CA' : ''
  return `cannot be reached: ${error.message || String(code)}${hint}`
}
