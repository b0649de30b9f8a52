/** Logs in to Vault: with a token at hand, by AppRole, or with a JWT from a file. Who is told what is wrong. */
import { readTextFile } from '../file-edit.ts'
import { type Answer, type Exchange, type Fields, fieldsOf, says } from './exchange.ts'
import { VaultFault } from './fault.ts'
import type { VaultLogin } from './settings.ts'

const MAX_JWT_CHARS = 64 * 1024
/** Vault locks a role out after five failed logins in a quarter of an hour, for all who use it. */
const REFUSED_PAUSE_MS = 5 * 60_000

/** A token of Vault and how long it lives, as Vault said when it gave it. */
export interface Grant {
  readonly token: string
  /** 0: it does not end. */
  readonly lengthMs: number
  readonly isRenewable: boolean
}

/** A way to log in that remembers what can be done only once. */
export class Login {
  readonly #exchange: Exchange
  readonly #login: VaultLogin
  /** Of a wrapped one, once it was unwrapped. */
  #secretId: string | undefined
  #isUnwrapBegun = false
  #hasWorked = false
  #refusal: { readonly fault: VaultFault; readonly untilMs: number } | undefined

  constructor(exchange: Exchange, login: VaultLogin) {
    this.#exchange = exchange
    this.#login = login
  }

  /** Whether another token can be had when one ends; and whether the tokens are ours to revoke. */
  get isRepeatable(): boolean {
    return this.#login.kind !== 'token'
  }

  /**
   * Role and secret id that were refused are not tried again for five minutes: they stay the same, and
   * Vault would lock the role out for everybody.
   *
   * @throws {VaultFault} in words that hold nothing secret.
   */
  async run(): Promise<Grant> {
    const login = this.#login
    if (login.kind === 'token') return await this.#lookUp(login.token)
    if (login.kind === 'jwt') {
      const jwt = await readJwt(login.file)
      const { mount = 'jwt', role, file } = login
      const answer = await this.#post(mount, { role, jwt })
      if (answer.status >= 300) throw jwtFault(answer, { mount, role, file })
      return grantOf(answer)
    }
    if (this.#refusal !== undefined && performance.now() < this.#refusal.untilMs) {
      throw this.#refusal.fault
    }
    const { mount = 'approle', roleId } = login
    const secretId =
      'secretId' in login
        ? login.secretId
        : await this.#unwrap(login.wrappedSecretId, encoded(mount))
    const answer = await this.#post(mount, { role_id: roleId, secret_id: secretId })
    if (answer.status >= 300) {
      const fault = this.#appRoleFault(answer, mount)
      this.#refusal = { fault, untilMs: performance.now() + REFUSED_PAUSE_MS }
      throw fault
    }
    this.#hasWorked = true
    return grantOf(answer)
  }

  async #post(mount: string, body: Fields): Promise<Answer> {
    return await this.#exchange.ask({ method: 'POST', path: `auth/${encoded(mount)}/login`, body })
  }

  /** A token that came from outside: how long it has yet. */
  async #lookUp(token: string): Promise<Grant> {
    const answer = await this.#exchange.ask({
      method: 'GET',
      path: 'auth/token/lookup-self',
      token,
    })
    if (answer.status < 300) {
      const { ttl, renewable } = fieldsOf(answer.body.data)
      return { token, lengthMs: msOf(ttl), isRenewable: renewable === true }
    }
    if (isBadToken(answer)) throw badToken(answer.status)
    // A token without the default policy may not look at itself, and be good all the same.
    return { token, lengthMs: 0, isRenewable: false }
  }

  async #unwrap(wrapped: string, mount: string): Promise<string> {
    if (this.#secretId !== undefined) return this.#secretId
    await this.#checkWrapping(wrapped, mount)
    this.#isUnwrapBegun = true
    const answer = await this.#exchange.ask({
      method: 'POST',
      path: 'sys/wrapping/unwrap',
      token: wrapped,
    })
    if (answer.status >= 300) throw this.#unwrapFault(answer.status)
    const { secret_id: secretId } = fieldsOf(answer.body.data)
    if (typeof secretId !== 'string' || secretId === '') throw wrapsSomethingElse()
    this.#secretId = secretId
    return secretId
  }

  /** Someone who took the secret id could wrap another one of his own: where it was made tells. */
  async #checkWrapping(token: string, mount: string): Promise<void> {
    const answer = await this.#exchange.ask({
      method: 'POST',
      path: 'sys/wrapping/lookup',
      body: { token },
    })
    if (answer.status >= 300) throw this.#unwrapFault(answer.status)
    const { creation_path: path } = fieldsOf(answer.body.data)
    const isAppRole =
      typeof path === 'string' &&
      path.startsWith(`auth/${mount}/role/`) &&
      /\/(?:custom-)?secret-id$/.test(path)
    if (!isAppRole) throw wrapsSomethingElse()
  }

  #unwrapFault(status: number): VaultFault {
    const problem = `the wrapped secret id cannot be unwrapped (${status})`
    const begun = this.#isUnwrapBegun
      ? ' (this process has begun to unwrap it before, and lost the answer)'
      : ''
    return new VaultFault(
      `${problem}: its wrapping token has been used, as it can be once, or its time is over${begun}`,
      'each start needs a new one. If nobody here has used this one, treat the secret id as stolen: destroy its accessor and look at the audit log',
      { isTemporary: false },
    )
  }

  #appRoleFault(answer: Answer, mount: string): VaultFault {
    const refused = `Vault refused the AppRole login at auth/${mount} (${answer.status})`
    const say = (problem: string, advice: string) =>
      new VaultFault(`${refused}: ${problem}`, advice, { isTemporary: false })
    if (says(answer, 'source address'))
      return say(
        "this machine's address is outside the CIDRs the role or secret id is bound to",
        'look at secret_id_bound_cidrs and token_bound_cidrs of the role',
      )
    if (says(answer, 'no handler for route') || says(answer, 'missing client token'))
      return say(
        'there is no such auth method',
        `look at \`vault auth list\`, and at the namespace`,
      )
    if (answer.status === 403)
      return say(
        'permission denied',
        `look whether AppRole is enabled at auth/${mount} (\`vault auth list\`), and whether failed logins have locked the role out for a while`,
      )
    if (this.#hasWorked)
      return say(
        'the secret id worked before: its uses are used up, its time is over, or it was destroyed',
        'make a new one, with secret_id_num_uses=0 for a process that logs in again and again',
      )
    return say(
      'the role id or the secret id is wrong, expired or used up',
      'compare the role id with `vault read auth/<mount>/role/<role>/role-id`, and make a new secret id',
    )
  }
}

/** Whether a refusal is about the token itself, and not about what it may do. */
export function isBadToken(answer: Answer): boolean {
  return answer.status === 403 && (says(answer, 'invalid token') || says(answer, 'bad token'))
}

/** The token that was given is no good, and there is no way to get another. */
export function badToken(status: number): VaultFault {
  return new VaultFault(
    `Vault does not know the token it was shown (${status}): it has expired, was revoked, or is of another server or namespace`,
    'give a new one; with AppRole or a JWT the gateway gets new ones by itself',
    { isTemporary: false },
  )
}

/** What a login or a renewal gave. */
export function grantOf(answer: Answer): Grant {
  const auth = fieldsOf(answer.body.auth)
  const { client_token: token, lease_duration: seconds, renewable } = auth
  if (typeof token !== 'string' || token === '') {
    const advice =
      'mfa_requirement' in auth && auth.mfa_requirement !== null
        ? 'the role asks for a second factor; a process has none, so use a role without'
        : 'look what answers at the address of Vault'
    throw new VaultFault('Vault answered the login without a token', advice, { isTemporary: false })
  }
  return { token, lengthMs: msOf(seconds), isRenewable: renewable === true }
}

function msOf(seconds: unknown): number {
  return typeof seconds === 'number' && Number.isFinite(seconds) ? Math.max(0, seconds) * 1000 : 0
}

function wrapsSomethingElse(): VaultFault {
  return new VaultFault(
    'the wrapping token does not hold a secret id of this AppRole',
    'it may have been exchanged on its way: make a new one with `vault write -wrap-ttl=60s -f auth/<mount>/role/<role>/secret-id`, and look at the audit log',
    { isTemporary: false },
  )
}

async function readJwt(file: string): Promise<string> {
  const jwt = (await readTextFile(file))?.trim()
  const problem =
    jwt === undefined
      ? 'is not there'
      : jwt === ''
        ? 'is empty'
        : jwt.length > MAX_JWT_CHARS || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(jwt)
          ? 'holds no JWT'
          : undefined
  if (jwt === undefined || problem !== undefined) {
    throw new VaultFault(
      `the file with the JWT, ${file}, ${problem}`,
      'look whether it is mounted, and who writes it',
      { isTemporary: true },
    )
  }
  return jwt
}

interface JwtLogin {
  readonly mount: string
  readonly role: string
  readonly file: string
}

function jwtFault(answer: Answer, { mount, role, file }: JwtLogin): VaultFault {
  const refused = `Vault refused the JWT login at auth/${mount} (${answer.status})`
  const say = (problem: string, advice: string) =>
    new VaultFault(`${refused}: ${problem}`, advice, { isTemporary: false })
  if (says(answer, 'could not be found'))
    return say(`there is no role ${role}`, `look at \`vault list auth/${mount}/role\``)
  if (says(answer, 'no handler for route') || says(answer, 'missing client token'))
    return say('there is no such auth method', 'look at `vault auth list`, and at the namespace')
  if (says(answer, 'expired'))
    return say(
      'the JWT has expired',
      `look whether ${file} is renewed by who mounts it, and at the clocks`,
    )
  if (says(answer, 'signature'))
    return say(
      'the signature of the JWT is not by a key that Vault trusts',
      `look at \`vault read auth/${mount}/config\``,
    )
  if (says(answer, 'audience'))
    return say('the JWT is for another audience', `look at bound_audiences of the role ${role}`)
  if (says(answer, '(iss)'))
    return say(
      'the JWT is from another issuer',
      `look at bound_issuer in \`vault read auth/${mount}/config\``,
    )
  return say(
    answer.status === 403 ? 'permission denied' : 'the JWT does not fit the role',
    `compare its claims with \`vault read auth/${mount}/role/${role}\`, and see that the method is enabled (\`vault auth list\`)`,
  )
}

function encoded(mount: string): string {
  return mount
    .split('/')
    .filter((segment) => segment !== '')
    .map(encodeURIComponent)
    .join('/')
}
