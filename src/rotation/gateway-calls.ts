/** Asks gateways for their tokens: the one on this machine by its control socket, others by their admin port. */
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { reportFrom } from './token-report.ts'
import type { GatewayAnswer, Gateways } from './world.ts'

/** How the gateway of this state directory is called in a list of gateways. */
export const LOCAL = 'local'

/** A gateway that does not answer in this time is away. */
const ANSWER_MS = 10_000
/** Ten thousand tokens take about ten. */
const MAX_ANSWER_BYTES = 128 * 2 ** 20

export class GatewayCalls implements Gateways {
  readonly #socketPath: string

  /** `socketPath`: the control socket of the local gateway. */
  constructor(socketPath: string) {
    this.#socketPath = socketPath
  }

  async ask(gateways: readonly string[]): Promise<readonly GatewayAnswer[]> {
    return await Promise.all(gateways.map((gateway) => this.#askOne(gateway)))
  }

  async reload(gateways: readonly string[]): Promise<void> {
    if (!gateways.includes(LOCAL)) return
    await this.#call(LOCAL, 'POST', '/reload').catch(() => undefined)
  }

  async #askOne(gateway: string): Promise<GatewayAnswer> {
    try {
      const { status, text, clockMs } = await this.#call(gateway, 'GET', '/tokens')
      if (status !== 200)
        return { gateway, report: undefined, problem: `it answered ${status} to GET /tokens` }
      const report = reportFrom(parsed(text), clockMs)
      return report === undefined
        ? { gateway, report, problem: 'what it answered to GET /tokens is no list of tokens' }
        : { gateway, report }
    } catch (error) {
      return { gateway, report: undefined, problem: this.#why(gateway, error) }
    }
  }

  #call(gateway: string, method: string, path: string): Promise<Answer> {
    const timing = { method, agent: false, signal: AbortSignal.timeout(ANSWER_MS) } as const
    if (gateway === LOCAL)
      return exchange(httpRequest, { ...timing, path, socketPath: this.#socketPath })
    const url = new URL(gateway)
    const request = url.protocol === 'https:' ? httpsRequest : httpRequest
    const prefix = url.pathname.replace(/\/+$/, '')
    return exchange(request, {
      ...timing,
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port,
      path: `${prefix}${path}`,
    })
  }

  #why(gateway: string, error: unknown): string {
    const { code, name, message } = error as NodeJS.ErrnoException
    const where = gateway === LOCAL ? this.#socketPath : new URL(gateway).host
    if (code === 'ECONNREFUSED' && gateway === LOCAL)
      return `nobody listens on ${where}; start the gateway, or remove that file if none is to run here`
    if (code === 'ENOENT' || code === 'ECONNREFUSED') return `nobody listens on ${where}`
    if (code === 'EACCES') return `this user may not open ${where}; run this as the gateway's user`
    if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `the name in ${where} is not known`
    if (name === 'AbortError' || name === 'TimeoutError')
      return `it did not answer within ${ANSWER_MS / 1000} s`
    return code ?? message
  }
}

interface Answer {
  readonly status: number
  readonly text: string
  readonly clockMs: number | undefined
}

function exchange(request: typeof httpRequest, options: RequestOptions): Promise<Answer> {
  return new Promise((settle, fail) => {
    const call = request(options, (response: IncomingMessage) => {
      const chunks: Buffer[] = []
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        chunks.push(chunk)
        if (bytes > MAX_ANSWER_BYTES) response.destroy(new Error('its answer does not end'))
      })
      response.once('error', fail)
      response.once('end', () => {
        const clockMs = Date.parse(response.headers.date ?? '')
        settle({
          status: response.statusCode ?? 0,
          text: Buffer.concat(chunks).toString(),
          clockMs: Number.isNaN(clockMs) ? undefined : clockMs,
        })
      })
    })
    call.once('error', fail)
    call.end()
  })
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
