/** JSON documents of issuers, fetched within bounds: https, five seconds, half a mebibyte, no redirect. */
import { Agent, request } from 'undici'

const TIMEOUT_MS = 5000
const MAX_BYTES = 512 * 1024

/** A document that could not be had, or is not what it should be. The message is for the operator. */
export class DocumentFault extends Error {
  override readonly name = 'DocumentFault'
}

/** Whether only this machine can be meant by a URL: there, http will do. */
export function isLoopbackUrl({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(hostname)
}

/** Fetches documents. */
export class Documents {
  readonly #agent = new Agent({
    connections: 1,
    maxResponseSize: MAX_BYTES,
    headersTimeout: TIMEOUT_MS,
    bodyTimeout: TIMEOUT_MS,
    connect: { timeout: TIMEOUT_MS },
  })
  readonly #closing = new AbortController()

  /** @throws {DocumentFault} in words, whatever went wrong. */
  async fetch(url: URL): Promise<unknown> {
    if (url.protocol !== 'https:' && !isLoopbackUrl(url))
      throw new DocumentFault(`${url.href} is not https`)
    try {
      const { statusCode, body } = await request(url, {
        dispatcher: this.#agent,
        headers: { accept: 'application/json, application/jwk-set+json' },
        signal: AbortSignal.any([this.#closing.signal, AbortSignal.timeout(TIMEOUT_MS)]),
      })
      if (statusCode !== 200) {
        body.on('error', () => {}).destroy()
        throw new DocumentFault(`${url.href} answered ${statusCode}; expected 200`)
      }
      return parse(await body.text(), url)
    } catch (error) {
      if (error instanceof DocumentFault) throw error
      throw new DocumentFault(`${url.href} ${wordsOf(error)}`, { cause: error })
    }
  }

  /** Ends what is under way. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#agent.destroy()
  }
}

function parse(text: string, url: URL): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new DocumentFault(`${url.href} is not JSON`)
  }
}

function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return 'could not be read'
  if (error.name === 'TimeoutError') return `did not answer within ${TIMEOUT_MS / 1000} s`
  const { code } = error as { code?: unknown }
  if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') return `is larger than ${MAX_BYTES / 1024} KiB`
  return `could not be read: ${error.message || String(code)}`
}
