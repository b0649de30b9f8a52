/**
 * What goes wrong with AWS Secrets Manager, in words for the person who can put it right. Told by the
 * name of the error: the number that comes with it says nothing.
 */
import { FileFault } from '../file-fault.ts'
import { SourceFault } from '../source-fault.ts'

/** What was being done, for what is to be granted. */
export type AwsAction =
  | 'GetSecretValue'
  | 'PutSecretValue'
  | 'UpdateSecretVersionStage'
  | 'CreateSecret'

interface Meaning {
  readonly problem: string
  readonly advice: string
  readonly isTemporary?: true
}

const CREDENTIALS: Meaning = {
  problem: 'AWS does not know these credentials',
  advice: 'look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile or role in use',
}
const EXPIRED: Meaning = {
  problem: 'the credentials have expired',
  advice: 'get new ones, or let a role renew them by itself',
}
const CLOCK: Meaning = {
  problem: 'the clock of this machine and that of AWS are too far apart',
  advice: 'put the clock right (NTP)',
}
const BUSY: Meaning = {
  problem: 'AWS is asked too often',
  advice: 'raise TOLLGATE_TOKENS_POLL, or the quota of the account',
  isTemporary: true,
}
const BROKEN: Meaning = {
  problem: 'AWS has trouble of its own',
  advice: 'nothing: it is tried again; status.aws.amazon.com may know more',
  isTemporary: true,
}
const AWAY: Meaning = {
  problem: 'AWS cannot be reached',
  advice: 'look at the network, AWS_REGION, and AWS_ENDPOINT_URL_SECRETS_MANAGER where it is set',
  isTemporary: true,
}
const LOST: Meaning = {
  problem: 'the connection ended before the answer was whole',
  advice: 'look at what lies between here and AWS',
  isTemporary: true,
}
const LATE: Meaning = {
  problem: 'AWS did not answer in time',
  advice: 'look at the network, and whether a firewall drops packets on the way',
  isTemporary: true,
}
const GARBLED: Meaning = {
  problem: 'the answer is not one of AWS',
  advice: 'look at AWS_ENDPOINT_URL_SECRETS_MANAGER, and at proxies in between',
  isTemporary: true,
}

const MEANINGS: Readonly<Record<string, Meaning>> = {
  ResourceNotFoundException: {
    problem: 'there is no such secret, or it has no value',
    advice: 'look at its name, and at AWS_REGION: each region has its own secrets',
  },
  DecryptionFailure: {
    problem: 'its KMS key cannot decrypt it',
    advice: 'enable the key, and allow kms:Decrypt on it',
  },
  EncryptionFailure: {
    problem: 'its KMS key cannot encrypt the new value',
    advice: 'enable the key, and allow kms:GenerateDataKey on it',
  },
  LimitExceededException: {
    problem: 'a limit of Secrets Manager is reached',
    advice: 'look at the quotas of the account',
  },
  UnrecognizedClientException: CREDENTIALS,
  InvalidClientTokenId: CREDENTIALS,
  InvalidSignatureException: CREDENTIALS,
  SignatureDoesNotMatch: CREDENTIALS,
  IncompleteSignatureException: CREDENTIALS,
  MissingAuthenticationTokenException: CREDENTIALS,
  AuthFailure: CREDENTIALS,
  NotAuthorized: CREDENTIALS,
  ExpiredTokenException: EXPIRED,
  ExpiredToken: EXPIRED,
  RequestTimeTooSkewed: CLOCK,
  RequestExpired: CLOCK,
  ThrottlingException: BUSY,
  Throttling: BUSY,
  TooManyRequestsException: BUSY,
  RequestLimitExceeded: BUSY,
  InternalServiceError: BROKEN,
  InternalFailure: BROKEN,
  ServiceUnavailableException: BROKEN,
  ServiceUnavailable: BROKEN,
  CredentialsProviderError: {
    problem: 'there are no AWS credentials',
    advice:
      'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role',
  },
  TokenProviderError: {
    problem: 'there are no AWS credentials',
    advice: 'log in again with aws sso login, or use keys or a role',
  },
  TimeoutError: LATE,
  AbortError: LATE,
  SyntaxError: GARBLED,
  ECONNREFUSED: AWAY,
  ENOTFOUND: AWAY,
  EAI_AGAIN: AWAY,
  EHOSTUNREACH: AWAY,
  ENETUNREACH: AWAY,
  ETIMEDOUT: LATE,
  ECONNRESET: LOST,
  EPIPE: LOST,
  ERR_STREAM_PREMATURE_CLOSE: LOST,
  ERR_INVALID_URL: {
    problem: 'AWS_ENDPOINT_URL_SECRETS_MANAGER or AWS_ENDPOINT_URL is no URL',
    advice: 'write it like https://secretsmanager.eu-central-1.amazonaws.com',
  },
}

/** Words for what a call threw. `place` as the operator wrote it. */
export function awsFault(place: string, action: AwsAction, thrown: unknown): Error {
  if (thrown instanceof SourceFault || thrown instanceof FileFault) return thrown
  const name = nameOf(thrown)
  const { problem, advice, isTemporary = false } = meaningOf(name, action, thrown)
  const label = name === undefined || name === 'Error' ? '' : ` (${name})`
  return new SourceFault(place, `${problem}${label}`, advice, { isTemporary, cause: thrown })
}

/** The name of an error of AWS, such as `ResourceNotFoundException`; else the code of the system's. */
export function nameOf(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error)) return undefined
  const { name } = thrown
  if (name !== 'Error' && name !== 'AggregateError') return name.replace(/#.*$|^.*:/g, '')
  const first = thrown instanceof AggregateError ? thrown.errors[0] : thrown
  const { code } = Object(first) as { code?: unknown }
  return typeof code === 'string' ? code : name
}

function meaningOf(name: string | undefined, action: AwsAction, thrown: unknown): Meaning {
  const message = thrown instanceof Error ? thrown.message : ''
  const code = codeOf(thrown)
  if (/signature (?:expired|not yet current)/i.test(message)) return CLOCK
  if (/region is missing/i.test(message)) {
    return { problem: 'no AWS region is set', advice: 'set AWS_REGION, such as eu-central-1' }
  }
  if (name === 'AccessDeniedException' || name === 'AccessDenied') {
    return {
      problem: `these credentials may not do that`,
      advice: /kms/i.test(message)
        ? 'allow kms:Decrypt and kms:GenerateDataKey on the KMS key of the secret'
        : `allow secretsmanager:${action} on this secret`,
    }
  }
  if (name === 'InvalidRequestException' && /delet/i.test(message)) {
    return {
      problem: 'the secret is marked for deletion',
      advice: 'bring it back with aws secretsmanager restore-secret, or name another',
    }
  }
  if (name === 'InvalidRequestException' || name === 'InvalidParameterException') {
    return {
      problem: 'AWS does not take the request',
      advice:
        'look at the name of the secret and at the state it is in with aws secretsmanager describe-secret',
    }
  }
  const known = [name, code].flatMap((key) => (key === undefined ? [] : (MEANINGS[key] ?? [])))[0]
  if (known !== undefined) return known
  const status = statusOf(thrown)
  if (status === 429) return BUSY
  return status === undefined || status >= 500
    ? BROKEN
    : { problem: 'AWS refuses', advice: 'look it up in the documentation of Secrets Manager' }
}

function codeOf(thrown: unknown): string | undefined {
  const { code } = Object(thrown) as { code?: unknown }
  return typeof code === 'string' ? code : undefined
}

function statusOf(thrown: unknown): number | undefined {
  const { $metadata } = Object(thrown) as { $metadata?: { httpStatusCode?: number } }
  return $metadata?.httpStatusCode
}
