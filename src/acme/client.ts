/**
 * Signed requests to one ACME directory (RFC 8555 §6): nonces, the account, and errors in words. What
 * an order is made of is in `order.ts`.
 */

import { AccountKey, type PrivateJwk } from './account-key.ts'
import {
  AcmeFault,
  type AcmeFaultKind,
  problemFrom,
  problemWords,
  shortType,
} from './acme-fault.ts'
import { type Directory, directoryFrom } from './directory.ts'
import type { Answer, Exchange } from './exchange.ts'
import { retryAtFrom } from './retry-after.ts'

/** A nonce is refused for good reasons (it is old) and for none (so that clients learn to retry). */
const MAX_NONCE_ERRORS = 20

/** An account that the directory knows. */
export interface Account {
  readonly directory: string
  /** How it is named in requests. */
  readonly url: string
  /** What it gave as contact. */
  readonly email: string | undefined
  readonly jwk: PrivateJwk
}

export interface ClientOptions {
  /** URL of the directory. */
  readonly directory: string
  readonly exchange: Exchange
  readonly jwk: PrivateJwk
  readonly wallMs: () => number
  readonly signal: AbortSignal
}

/** An answer with its body read. */
export interface Resource {
  readonly url: string
  readonly body: Readonly<Record<string, unknown>>
  readonly text: string
  readonly location: string | undefined
  /** When to look again, Unix milliseconds; undefined where nothing was said. */
  readonly retryAtMs: number | undefined
}

export class AcmeClient {
  readonly key: AccountKey
  readonly #options: ClientOptions
  #directory: Directory | undefined
  #kid: string | undefined
  #nonce: string | undefined

  constructor(options: ClientOptions) {
    this.#options = options
    this.key = new AccountKey(options.jwk)
  }

  get signal(): AbortSignal {
    return this.#options.signal
  }

  /** The directory, read once. */
  async directory(): Promise<Directory> {
    if (this.#directory !== undefined) return this.#directory
    const { directory: url, exchange, signal } = this.#options
    const answer = await exchange.ask(url, { method: 'GET' }, signal)
    if (answer.status !== 200) throw this.#fault('the directory', url, answer)
    this.#directory = directoryFrom(jsonOf(answer.text), url)
    return this.#directory
  }

  /**
   * Logs in: the account that was given, or one that the directory makes for the key now. The terms
   * have been agreed to by the operator. Resolves with the account as it is to be kept.
   */
  async logIn(known: Account | undefined, email: string | undefined): Promise<Account> {
    const { directory, jwk } = this.#options
    const { newAccount, needsExternalAccount } = await this.directory()
    const contact = email === undefined ? [] : [`mailto:${email}`]
    if (known !== undefined) {
      this.#kid = known.url
      if (known.email === email) return known
      await this.post(known.url, { contact }, 'to change the contact of the account')
      return { ...known, email }
    }
    if (needsExternalAccount) {
      throw new AcmeFault(
        'refused',
        `${directory} gives accounts only to those it knows already (external account binding), which is not supported; expected another directory in TOLLGATE_ACME, such as letsencrypt`,
        { type: 'externalAccountRequired' },
      )
    }
    this.#kid = undefined
    const asked = { termsOfServiceAgreed: true, ...(contact.length > 0 && { contact }) }
    const { location } = await this.post(newAccount, asked, 'for an account')
    if (location === undefined) throw new AcmeFault('away', `${newAccount} named no account`)
    this.#kid = location
    return { directory, url: location, email, jwk }
  }

  /** One signed request; `payload` undefined is POST-as-GET. `what` completes "was asked …". @throws {AcmeFault} */
  async post(url: string, payload: unknown, what: string, accept?: string): Promise<Resource> {
    const { exchange, signal, wallMs } = this.#options
    for (let errors = 0; ; errors += 1) {
      const nonce = this.#nonce ?? (await this.#newNonce())
      this.#nonce = undefined
      const body = await this.key.sign(url, nonce, this.#kid, payload)
      const asked = { method: 'POST', body, ...(accept !== undefined && { accept }) } as const
      const answer = await exchange.ask(url, asked, signal)
      this.#nonce = nonceOf(answer)
      if (answer.status < 300) {
        const location = answer.header('location')
        return {
          url,
          body: objectOf(answer.text),
          text: answer.text,
          location: location === undefined ? undefined : new URL(location, url).href,
          retryAtMs: retryAtFrom(answer.header('retry-after'), wallMs()),
        }
      }
      const fault = this.#fault(what, url, answer)
      if (fault.type !== 'badNonce' || errors >= MAX_NONCE_ERRORS) throw fault
    }
  }

  /** A public resource, such as renewal information. @throws {AcmeFault} */
  async get(url: string, what: string): Promise<Resource> {
    const { exchange, signal, wallMs } = this.#options
    const answer = await exchange.ask(url, { method: 'GET' }, signal)
    if (answer.status !== 200) throw this.#fault(what, url, answer)
    const retryAtMs = retryAtFrom(answer.header('retry-after'), wallMs())
    return { url, body: objectOf(answer.text), text: answer.text, location: undefined, retryAtMs }
  }

  async #newNonce(): Promise<string> {
    const { exchange, signal } = this.#options
    const { newNonce: url } = await this.directory()
    const answer = await exchange.ask(url, { method: 'HEAD' }, signal)
    const nonce = nonceOf(answer)
    if (nonce === undefined) throw this.#fault('for a nonce', url, answer)
    return nonce
  }

  #fault(what: string, url: string, { status, text, header }: Answer): AcmeFault {
    const problem = problemFrom(jsonOf(text))
    const type = shortType(problem.type)
    const retryAtMs = retryAtFrom(header('retry-after'), this.#options.wallMs())
    const message = `${new URL(url).origin} was asked ${what} and answered ${status}: ${problemWords(problem)}`
    return new AcmeFault(kindOf(status, type), message, { type, retryAtMs })
  }
}

function kindOf(status: number, type: string): AcmeFaultKind {
  if (type === 'rateLimited' || status === 429) return 'rate_limited'
  return status >= 500 ? 'away' : 'refused'
}

function nonceOf(answer: Answer): string | undefined {
  const nonce = answer.header('replay-nonce')
  return nonce !== undefined && /^[\w-]{1,512}$/.test(nonce) ? nonce : undefined
}

function objectOf(text: string): Readonly<Record<string, unknown>> {
  const value = jsonOf(text)
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
