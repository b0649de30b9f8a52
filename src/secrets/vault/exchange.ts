/**
 * One request to Vault and its answer, over undici: headers, limits of time and size, and what answers
 * mean that are not about the request: sealed, standby, too busy, a proxy in between.
 */
import { Pool } from 'undici'
import { noAnswer, VaultFault } from './fault.ts'

const MAX_ANSWER_BYTES = 64 * 2 ** 20
const MAX_CONNECTIONS = 4
/** Below the idle limits of common proxies, so that a request rarely meets a closing connection. */
const IDLE_MS = 4000
/** How much of an answer's error text goes into a message. */
const MAX_ERROR_CHARS = 200

export type Fields = Readonly<Record<string, unknown>>

export interface Ask {
  readonly method: 'GET' | 'POST'
  /** Behind `/v1/`, its segments percent-encoded. */
  readonly path: string
  readonly body?: Fields
  readonly token?: string | undefined
  /** Default: that of the exchange. */
  readonly timeoutMs?: number
  /** Some paths exist in the root namespace only. */
  readonly isInRootNamespace?: boolean
}

/** What Vault itself said of the request: done (2xx), or refused (4xx). */
export interface Answer {
  readonly status: number
  readonly errors: readonly string[]
  readonly body: Fields
}

export interface ExchangeOptions {
  readonly address: URL
  readonly namespace: string | undefined
  readonly ca: string | undefined
  readonly timeoutMs: number
}

/** Any value as an object to look into; empty where it is none. */
export function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Fields)
    : {}
}

/** Whether one of the errors of an answer has this text in it. */
export function says(answer: Answer, text: string): boolean {
  return answer.errors.some((error) => error.includes(text))
}

/** Whether a request was refused for its size. Vault says so with statuses 400, 413 and 500. */
export function isTooLarge(answer: Answer): boolean {
  return (
    answer.status === 413 ||
    says(answer, 'exceeds allowed') ||
    says(answer, 'value being too large')
  )
}

export class Exchange {
  readonly #options: ExchangeOptions
  readonly #prefix: string
  /** Origin and path, for messages. */
  readonly address: string
  #pool: Pool | undefined

  constructor(options: ExchangeOptions) {
    this.#options = options
    const path = options.address.pathname.replace(/\/+$/, '')
    this.#prefix = `${path}/v1/`
    this.address = `${options.address.origin}${path}`
  }

  /**
   * Sends one request. Redirects are not followed: they would take the token elsewhere.
   *
   * @throws {VaultFault} when there is no answer, or none about the request. What is too large comes
   * back as an answer, whatever its status.
   */
  async ask(ask: Ask): Promise<Answer> {
    const answer = await this.#send(ask)
    if (answer.status < 300) return answer
    if (isTooLarge(answer)) return answer
    const said = answer.status < 500 ? '' : errorText(ask, answer)
    if (answer.status === 503) throw await this.#unavailable(answer, said)
    const fault = this.#faultOf(answer.status, said)
    if (fault !== undefined) throw fault
    return answer
  }

  /** Ends the connections. A later request makes new ones. */
  async close(): Promise<void> {
    const pool = this.#pool
    this.#pool = undefined
    await pool?.destroy()
  }

  async #send(ask: Ask): Promise<Answer> {
    const timeoutMs = ask.timeoutMs ?? this.#options.timeoutMs
    this.#pool ??= this.#makePool()
    let status: number
    let text: string
    let headers: Readonly<Record<string, string | string[] | undefined>>
    try {
      const answer = await this.#pool.request({
        method: ask.method,
        path: `${this.#prefix}${ask.path}`,
        headers: this.#headersOf(ask),
        body: ask.body === undefined ? null : JSON.stringify(ask.body),
        signal: AbortSignal.timeout(timeoutMs),
      })
      status = answer.statusCode
      headers = answer.headers
      text = await answer.body.text()
    } catch (error) {
      throw noAnswer(this.address, error, timeoutMs)
    }
    if (status >= 300 && status < 400) throw this.#redirect(status, headers.location)
    return this.#read(status, text, headers['content-type'])
  }

  #headersOf({ token, body, isInRootNamespace = false }: Ask): Record<string, string> {
    const { namespace } = this.#options
    return {
      'x-vault-request': 'true',
      ...(token === undefined ? {} : { 'x-vault-token': token }),
      ...(namespace === undefined || isInRootNamespace ? {} : { 'x-vault-namespace': namespace }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    }
  }

  #makePool(): Pool {
    const { address, ca, timeoutMs } = this.#options
    return new Pool(address.origin, {
      allowH2: false,
      pipelining: 1,
      connections: MAX_CONNECTIONS,
      keepAliveTimeout: IDLE_MS,
      headersTimeout: timeoutMs * 2,
      bodyTimeout: timeoutMs * 2,
      maxResponseSize: MAX_ANSWER_BYTES,
      connect: { timeout: timeoutMs, ...(ca === undefined ? {} : { ca }) },
    })
  }

  #read(status: number, text: string, contentType: unknown): Answer {
    if (text.trim() === '' && status === 204) return { status, errors: [], body: {} }
    let parsed: unknown
    try {
      parsed = JSON.parse(text)
    } catch {
      if (/json/i.test(String(contentType)) && text.trimStart().startsWith('{')) {
        throw new VaultFault(
          `Vault at ${this.address} answered ${status} with JSON that breaks off`,
          'look at what lies between here and Vault',
          { isTemporary: true },
        )
      }
      throw this.#notVault(status, text, contentType)
    }
    const body = fieldsOf(parsed)
    const errors = Array.isArray(body.errors) ? body.errors.map(String) : undefined
    // A version that was deleted is a 404 that holds `data` and no `errors`.
    const isVault = errors !== undefined || (status < 300 ? parsed === body : 'data' in body)
    if (!isVault) throw this.#notVault(status, text, contentType)
    return { status, errors: errors ?? [], body }
  }

  #notVault(status: number, text: string, contentType: unknown): VaultFault {
    if (status === 400 && text.includes('HTTP request to an HTTPS server')) {
      return new VaultFault(
        `${this.address} speaks TLS and was asked without (status ${status})`,
        'write the address of Vault with https://',
        { isTemporary: false },
      )
    }
    const type = typeof contentType === 'string' ? contentType.split(';')[0] : 'no content type'
    return new VaultFault(
      `${this.address} answered ${status} with ${type?.slice(0, 60)} that is not Vault's`,
      'look at host, port and path of the address of Vault, and at a proxy in between',
      { isTemporary: status >= 500 || status === 429 || status === 408 },
    )
  }

  #redirect(status: number, location: unknown): VaultFault {
    const to = typeof location === 'string' ? URL.parse(location, this.address)?.origin : undefined
    const isElsewhere = to !== undefined && to !== this.#options.address.origin
    return new VaultFault(
      `${this.address} answered ${status} and sends on to ${to ?? 'nowhere'}, and was not followed`,
      isElsewhere
        ? `if that is the active Vault, make it the address; a standby that cannot forward requests does this`
        : 'look at the path of the address of Vault, and at a proxy in between',
      { isTemporary: isElsewhere },
    )
  }

  #faultOf(status: number, said: string): VaultFault | undefined {
    const at = `Vault at ${this.address}`
    if (status === 429) {
      const advice = 'ask less often, or raise the rate limit quota'
      return new VaultFault(`${at} refused this as too much (429)`, advice, { isTemporary: true })
    }
    if (status === 412) {
      const advice = 'nothing: a standby that is behind the active node catches up'
      return new VaultFault(`${at} is not up to date yet (412)`, advice, { isTemporary: true })
    }
    if (status >= 500) {
      const advice = 'look at the log of Vault'
      return new VaultFault(`${at} failed (${status}${said})`, advice, { isTemporary: true })
    }
    return undefined
  }

  /** Why there is nobody who could answer. `sys/health` tells, for 503 alone does not. */
  async #unavailable(answer: Answer, said: string): Promise<VaultFault> {
    const at = `Vault at ${this.address}`
    const isSealed = says(answer, 'sealed')
    const health = await this.#send({
      method: 'GET',
      path: 'sys/health?uninitcode=200&sealedcode=200&standbycode=200&perfstandbycode=200&drsecondarycode=200',
      isInRootNamespace: true,
    }).catch(() => undefined)
    const { initialized, sealed, standby } = health?.body ?? {}
    if (initialized === false) {
      const advice = 'run `vault operator init`, or look whether this is the right server'
      return new VaultFault(`${at} is not initialised (503)`, advice, { isTemporary: false })
    }
    if (isSealed || sealed === true) {
      return new VaultFault(`${at} is sealed (503)`, 'unseal it: `vault operator unseal`', {
        isTemporary: true,
      })
    }
    if (standby === true) {
      const advice = 'wait for a leader, or look at the other nodes'
      return new VaultFault(`${at} is a standby without an active node (503)`, advice, {
        isTemporary: true,
      })
    }
    const advice = 'look at the log of Vault'
    const problem = `${at} is not available (503${said})`
    return new VaultFault(problem, advice, { isTemporary: true })
  }
}

/**
 * The first error of an answer, short and on one line, to be put behind a status. Nothing of an answer
 * to a request that held a secret in its body: it could be repeated there.
 */
function errorText(ask: Ask, { errors }: Answer): string {
  const text = (errors[0] ?? '').replaceAll(/[\p{C}\s]+/gu, ' ').trim()
  if (text === '' || ask.body !== undefined) return ''
  if (ask.token !== undefined && text.includes(ask.token)) return ''
  return `: ${text.slice(0, MAX_ERROR_CHARS)}`
}
