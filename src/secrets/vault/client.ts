/** A server with HashiCorp Vault or OpenBao: logs in by itself, and asks with a token that is in force. */
import { type Answer, type Ask, Exchange } from './exchange.ts'
import { VaultFault } from './fault.ts'
import { isBadToken, Login } from './login.ts'
import { type Lease, Session } from './session.ts'
import { checkSettings, type VaultSettings } from './settings.ts'

export type { VaultLogin, VaultSettings } from './settings.ts'

const DEFAULT_TIMEOUT_MS = 10_000

/**
 * One server and one identity, shared by all places there: a source, a truth and a delivery made with
 * the same client log in once. The last of them that is closed closes the client; it opens again when
 * it is used again.
 */
export class VaultClient {
  readonly #exchange: Exchange
  readonly #session: Session
  #users = 0
  /** A new token that was refused something all the same: there it is not the token that is at fault. */
  #refused: string | undefined

  /** Opens nothing yet. @throws {SourceFault} where a setting cannot be right. */
  constructor(settings: VaultSettings) {
    const { namespace, ca, login, timeoutMs = DEFAULT_TIMEOUT_MS } = settings
    this.#exchange = new Exchange({ address: checkSettings(settings), namespace, ca, timeoutMs })
    this.#session = new Session(this.#exchange, new Login(this.#exchange, login))
  }

  /** Where the server is, for messages. */
  get address(): string {
    return this.#exchange.address
  }

  /**
   * Asks with the token, after a login where one is needed. Where Vault no longer knows the token,
   * logs in once more and asks again.
   *
   * @returns what Vault said: 2xx, or a 4xx that is about the request.
   * @throws {VaultFault} or {FileFault}, where there is no token or no such answer.
   */
  async ask(ask: Omit<Ask, 'token'>): Promise<Answer> {
    const lease = await this.#session.lease()
    const answer = await this.#exchange.ask({ ...ask, token: lease.token })
    if (answer.status !== 403) return answer
    const fate = await this.#fateOf(lease, answer)
    if (fate === 'alive') return answer
    if (fate === 'unclear' && !this.#session.isRepeatable) throw unclearToken()
    const { token } = await this.#session.replace(lease)
    const second = await this.#exchange.ask({ ...ask, token })
    if (second.status === 403) this.#refused = token
    return second
  }

  /** One more place uses this client; see `release`. */
  retain(): void {
    this.#users += 1
  }

  /** A place is done with it. The last one closes it. */
  async release(): Promise<void> {
    this.#users -= 1
    if (this.#users <= 0) await this.close()
  }

  /**
   * Stops renewing, revokes the token if this client got it by logging in (best effort, a second at
   * the most), and ends the connections.
   */
  async close(): Promise<void> {
    await this.#session.close()
    await this.#exchange.close()
  }

  /**
   * A 403 stands for a token that is gone as well as for one that may not do this. Vault says which
   * since 1.17; OpenBao and older ones do not, and a token without the default policy may not even
   * look at itself.
   */
  async #fateOf(lease: Lease, answer: Answer): Promise<'alive' | 'gone' | 'unclear'> {
    if (isBadToken(answer)) return 'gone'
    if (lease.token === this.#refused) return 'alive'
    const path = 'auth/token/lookup-self'
    const self = await this.#exchange.ask({ method: 'GET', path, token: lease.token })
    if (isBadToken(self)) return 'gone'
    return self.status === 403 ? 'unclear' : 'alive'
  }
}

function unclearToken(): VaultFault {
  return new VaultFault(
    'permission denied (403), and the token may not look itself up either: it has expired or was revoked, or lacks both permissions',
    'try `vault token lookup` with it; give a new one if that fails, or the policy that it lacks',
    { isTemporary: false },
  )
}
