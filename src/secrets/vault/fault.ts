/**
 * What went wrong between this process and Vault, before it is known whose place it concerns: a login
 * that several places wait for fails for each of them. And what errors of sockets and TLS mean here.
 */
import { SourceFault } from '../source-fault.ts'

/** A problem with Vault and what to do about it. Becomes a `SourceFault` at each place it concerns. */
export class VaultFault extends Error {
  override readonly name = 'VaultFault'
  readonly problem: string
  readonly advice: string
  readonly isTemporary: boolean

  constructor(
    problem: string,
    advice: string,
    options: { readonly isTemporary: boolean; readonly cause?: unknown },
  ) {
    super(`${problem}; ${advice}`, { cause: options.cause })
    this.problem = problem
    this.advice = advice
    this.isTemporary = options.isTemporary
  }
}

/** Runs `work`, and says of what goes wrong with Vault which place it was for. */
export async function atPlace<Result>(place: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof VaultFault)) throw error
    const { problem, advice, isTemporary } = error
    throw new SourceFault(place, problem, advice, { isTemporary, cause: error })
  }
}

interface Meaning {
  readonly problem: string
  readonly advice: string
  readonly isTemporary: boolean
}

const LOOK = 'look whether Vault runs and can be reached from here'
const LOOK_AT_NAME = 'look at the host in the address of Vault, and at the name server'
const NOT_TRUSTED: Meaning = {
  problem: 'its certificate is signed by nobody trusted here',
  advice: 'name the file with the CA that signed it in TOLLGATE_VAULT_CA',
  isTemporary: false,
}
const NO_TLS: Meaning = {
  problem: 'it does not speak TLS',
  advice: 'write its address with http:// if that is meant, or give Vault a certificate',
  isTemporary: false,
}
const LOST: Meaning = {
  problem: 'it closed the connection before its answer was whole',
  advice: 'look at the log of Vault and of what lies between',
  isTemporary: true,
}
const TOO_LATE: Meaning = {
  problem: 'it did not answer in time',
  advice: 'look whether Vault is overloaded, or a firewall drops packets on the way',
  isTemporary: true,
}

const MEANINGS: Readonly<Record<string, Meaning>> = {
  ECONNREFUSED: { problem: 'connection refused', advice: LOOK, isTemporary: true },
  ECONNRESET: LOST,
  EPIPE: LOST,
  UND_ERR_SOCKET: LOST,
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: LOST,
  ETIMEDOUT: TOO_LATE,
  UND_ERR_CONNECT_TIMEOUT: TOO_LATE,
  UND_ERR_HEADERS_TIMEOUT: TOO_LATE,
  UND_ERR_BODY_TIMEOUT: TOO_LATE,
  EHOSTUNREACH: { problem: 'no route to its host', advice: LOOK, isTemporary: true },
  ENETUNREACH: { problem: 'no route to its network', advice: LOOK, isTemporary: true },
  ENOTFOUND: { problem: 'its name does not resolve', advice: LOOK_AT_NAME, isTemporary: true },
  EAI_AGAIN: {
    problem: 'its name could not be looked up',
    advice: 'look whether the name server can be reached',
    isTemporary: true,
  },
  UND_ERR_RES_EXCEEDED_MAX_SIZE: {
    problem: 'its answer is larger than 64 MiB',
    advice: 'look whether this is the right secret',
    isTemporary: false,
  },
  DEPTH_ZERO_SELF_SIGNED_CERT: NOT_TRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: NOT_TRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: NOT_TRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: NOT_TRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: NOT_TRUSTED,
  CERT_HAS_EXPIRED: {
    problem: 'its certificate has expired',
    advice: 'renew it, or put the clock of this machine right',
    isTemporary: false,
  },
  CERT_NOT_YET_VALID: {
    problem: 'its certificate is not valid yet',
    advice: 'put the clock of this machine right',
    isTemporary: false,
  },
  ERR_TLS_CERT_ALTNAME_INVALID: {
    problem: 'its certificate is for another name',
    advice: 'use a name that the certificate has in the address of Vault',
    isTemporary: false,
  },
  ERR_SSL_WRONG_VERSION_NUMBER: NO_TLS,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: NO_TLS,
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: {
    problem: 'it asks for a client certificate',
    advice: 'let Vault listen without tls_require_and_verify_client_cert for this client',
    isTemporary: false,
  },
}
const NO_HTTP: Meaning = {
  problem: 'it does not speak HTTP',
  advice: 'look at scheme, host and port of the address of Vault',
  isTemporary: false,
}

/** What is thrown when a request got no answer, or half of one. `address` is Vault's. */
export function noAnswer(address: string, thrown: unknown, timeoutMs: number): VaultFault {
  if (isTimeout(thrown)) {
    const problem = `no answer from Vault at ${address} in ${timeoutMs} ms`
    return new VaultFault(problem, TOO_LATE.advice, { isTemporary: true, cause: thrown })
  }
  if (thrown instanceof Error && thrown.name === 'HTTPParserError') {
    // The error holds what was received, so it is not passed on.
    const { problem, advice, isTemporary } = NO_HTTP
    return new VaultFault(`Vault at ${address}: ${problem}`, advice, { isTemporary })
  }
  const code = codeOf(thrown)
  const meaning = code === undefined ? undefined : MEANINGS[code]
  if (meaning !== undefined) {
    const { problem, advice, isTemporary } = meaning
    return new VaultFault(`Vault at ${address}: ${problem}`, advice, { isTemporary, cause: thrown })
  }
  return new VaultFault(`Vault at ${address}: ${code ?? 'the connection failed'}`, LOOK, {
    isTemporary: true,
    cause: thrown,
  })
}

function isTimeout(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === 'TimeoutError'
}

/** The code of the first error in the chain that has one; of several attempts at one name, the first. */
function codeOf(thrown: unknown): string | undefined {
  let error = thrown
  let found: string | undefined
  for (let depth = 0; depth < 8 && error instanceof Error; depth += 1) {
    const { code } = error as NodeJS.ErrnoException
    if (typeof code === 'string') {
      if (MEANINGS[code] !== undefined) return code
      found ??= code
    }
    error = error instanceof AggregateError ? error.errors[0] : error.cause
  }
  return found
}
