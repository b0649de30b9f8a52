/** What a directory offers (RFC 8555 §7.1.1). */
import { AcmeFault } from './acme-fault.ts'

export interface Directory {
  readonly newNonce: string
  readonly newAccount: string
  readonly newOrder: string
  /** Where it tells when to renew (RFC 9773); undefined where it does not. */
  readonly renewalInfo: string | undefined
  /** Where its terms are. */
  readonly terms: string | undefined
  readonly needsExternalAccount: boolean
}

/** @throws {AcmeFault} where it is no directory. */
export function directoryFrom(body: unknown, url: string): Directory {
  const fields = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>
  const urlAt = (name: string): string => {
    const value = fields[name]
    if (typeof value === 'string' && value.startsWith('https://')) return value
    throw new AcmeFault(
      'away',
      `${url} is no ACME directory: expected an https URL as ${name}; is TOLLGATE_ACME right?`,
    )
  }
  const { renewalInfo, meta } = fields
  const { termsOfService, externalAccountRequired } = (meta ?? {}) as Record<string, unknown>
  return {
    newNonce: urlAt('newNonce'),
    newAccount: urlAt('newAccount'),
    newOrder: urlAt('newOrder'),
    renewalInfo: typeof renewalInfo === 'string' ? renewalInfo.replace(/\/+$/, '') : undefined,
    terms: typeof termsOfService === 'string' ? termsOfService.slice(0, 500) : undefined,
    needsExternalAccount: externalAccountRequired === true,
  }
}
