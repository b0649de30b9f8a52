/**
 * The token this process shows to Vault: got when first needed, one login at a time, renewed at two
 * thirds of its life, and replaced when it cannot be renewed any further.
 */
import type { Exchange } from './exchange.ts'
import { VaultFault } from './fault.ts'
import { badToken, type Grant, grantOf, type Login } from './login.ts'

/** Longest time a timer takes. */
const MAX_TIMER_MS = 2 ** 31 - 1
/** A renewal that gives less than this part of the first lease has met the token's greatest age. */
const CAPPED_PART = 0.5
const SHORTEST_PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 30_000
/** A process that ends does not wait longer for Vault. */
const FAREWELL_MS = 1000

/** A token in use. */
export interface Lease {
  readonly token: string
  /** The token is of no use from then on, on the monotonic clock. */
  readonly endsMs: number
  readonly isRenewable: boolean
  /** How long it was to live when it was new. */
  readonly firstLengthMs: number
}

export class Session {
  readonly #exchange: Exchange
  readonly #login: Login
  #lease: Lease | undefined
  #pending: Promise<Lease> | undefined
  #timer: NodeJS.Timeout | undefined
  /** Rises when the session is closed: what a login before that brings is not kept. */
  #era = 0

  constructor(exchange: Exchange, login: Login) {
    this.#exchange = exchange
    this.#login = login
  }

  /** Whether another token can be had when this one is gone. */
  get isRepeatable(): boolean {
    return this.#login.isRepeatable
  }

  /** The token to use. Logs in where there is none. @throws {VaultFault} */
  async lease(): Promise<Lease> {
    const lease = this.#lease
    if (lease !== undefined && performance.now() < lease.endsMs) return lease
    // A token that was given may have been renewed by somebody else: for that one it is a look-up.
    return await this.#logIn()
  }

  /**
   * The token to use after Vault refused `lease` as unknown: that of a new login, or of one that
   * another request has made since. @throws {VaultFault}
   */
  async replace(lease: Lease): Promise<Lease> {
    if (!this.#login.isRepeatable) throw badToken(403)
    if (this.#lease === lease) this.#drop()
    return await this.lease()
  }

  /** Stops renewing, and gives back a token that this process got for itself: best effort, within a second. */
  async close(): Promise<void> {
    this.#era += 1
    const pending = this.#pending
    const lease = this.#lease
    this.#drop()
    if (!this.#login.isRepeatable) return
    const leases = [lease, await soon(pending)].filter((held) => held !== undefined)
    await Promise.all(leases.map(({ token }) => this.#revoke(token)))
  }

  async #revoke(token: string): Promise<void> {
    const path = 'auth/token/revoke-self'
    await this.#exchange
      .ask({ method: 'POST', path, token, timeoutMs: FAREWELL_MS })
      .catch(() => undefined)
  }

  #logIn(): Promise<Lease> {
    this.#pending ??= this.#logInNow().finally(() => {
      this.#pending = undefined
    })
    return this.#pending
  }

  async #logInNow(): Promise<Lease> {
    const era = this.#era
    const askedMs = performance.now()
    const grant = await this.#login.run()
    return this.#take(grant, { askedMs, era, firstLengthMs: grant.lengthMs })
  }

  /** `askedMs`: the life of a token is counted from before it was asked for, to be on the safe side. */
  #take(
    grant: Grant,
    {
      askedMs,
      era,
      firstLengthMs,
    }: { readonly askedMs: number; readonly era: number; readonly firstLengthMs: number },
  ): Lease {
    const lease: Lease = {
      token: grant.token,
      endsMs: grant.lengthMs === 0 ? Number.POSITIVE_INFINITY : askedMs + grant.lengthMs,
      isRenewable: grant.isRenewable,
      firstLengthMs,
    }
    if (era !== this.#era) return lease
    this.#lease = lease
    if (grant.lengthMs > 0) this.#refreshIn((grant.lengthMs * 2) / 3, lease)
    return lease
  }

  #drop(): void {
    clearTimeout(this.#timer)
    this.#lease = undefined
  }

  #refreshIn(waitMs: number, lease: Lease): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(
      () => void this.#refresh(lease),
      Math.min(waitMs, MAX_TIMER_MS),
    ).unref()
  }

  /** What goes wrong here is told to the next one who needs the token, if it is still wrong then. */
  async #refresh(lease: Lease): Promise<void> {
    if (this.#lease !== lease) return
    try {
      if (!lease.isRenewable || !(await this.#renew(lease))) {
        if (this.#login.isRepeatable) await this.#logIn()
      }
    } catch (error) {
      if (this.#lease !== lease) return
      const restMs = lease.endsMs - performance.now()
      if (restMs <= 0 || !(error instanceof VaultFault)) return
      const pauseMs = Math.min(Math.max(restMs / 4, SHORTEST_PAUSE_MS), LONGEST_PAUSE_MS)
      this.#refreshIn(pauseMs, lease)
    }
  }

  /** False where the token can live on only for a short time, or not at all. */
  async #renew(lease: Lease): Promise<boolean> {
    const era = this.#era
    const askedMs = performance.now()
    const answer = await this.#exchange.ask({
      method: 'POST',
      path: 'auth/token/renew-self',
      token: lease.token,
      body: {},
    })
    if (answer.status >= 300) return false
    const grant = grantOf(answer)
    // The request may have taken long: somebody else may have logged in.
    if (this.#lease !== lease) return true
    if (grant.lengthMs === 0) return false
    const { firstLengthMs } = lease
    const isCapped = grant.lengthMs < firstLengthMs * CAPPED_PART
    // A token without a successor would be renewed ever faster as it comes to its end.
    const isRenewable = grant.isRenewable && (!isCapped || this.#login.isRepeatable)
    this.#take({ ...grant, isRenewable, token: lease.token }, { askedMs, era, firstLengthMs })
    return !isCapped
  }
}

/** What a promise brings within the time for a farewell. */
async function soon<Value>(promise: Promise<Value> | undefined): Promise<Value | undefined> {
  if (promise === undefined) return undefined
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), FAREWELL_MS)
  })
  try {
    return await Promise.race([promise.catch(() => undefined), late])
  } finally {
    clearTimeout(timer)
  }
}
