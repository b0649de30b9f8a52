/** Reads CRLs (RFC 5280 §5). Loaded only where one is configured. */
import { webcrypto } from 'node:crypto'
// The dependency injection inside @peculiar/x509 reads metadata of decorators.
import 'reflect-metadata'
import {
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  X509Certificate,
  X509Crl,
} from '@peculiar/x509'

/** RFC 5280 §5.2.4. */
const DELTA_CRL_INDICATOR = '2.5.29.27'

/** What a CRL says. */
export interface RevocationList {
  /** The place of its issuer among the CAs that were given. */
  readonly issuerAt: number
  readonly thisUpdateMs: number
  /** When the next one is due; until then it is good. Undefined where it names no time. */
  readonly nextUpdateMs: number | undefined
  /** Serial numbers in hexadecimal, as `serialOf` writes them. */
  readonly revoked: ReadonlySet<string>
  /** As OpenSSL takes it. */
  readonly pem: string
}

/**
 * Reads one CRL (DER) that one of these CAs (DER) has signed. Returns what is wrong with it, in words
 * that go behind the name of a file.
 */
export async function readRevocationList(
  der: Uint8Array<ArrayBuffer>,
  cas: readonly Uint8Array<ArrayBuffer>[],
): Promise<RevocationList | string> {
  let list: X509Crl
  let issuers: readonly X509Certificate[]
  try {
    list = new X509Crl(der)
    issuers = cas.map((ca) => new X509Certificate(ca))
  } catch {
    return 'the CRL is damaged'
  }
  if (list.extensions.some(({ type }) => type === DELTA_CRL_INDICATOR))
    return 'is a delta CRL, which is not supported; expected the complete one'
  const named = issuers.filter(({ subject }) => subject === list.issuer)
  if (named.length === 0)
    return `is a CRL by ${list.issuer}, which is none of the CAs for clients; expected one by a CA in TOLLGATE_TLS_CLIENT_CA`
  const verified = await Promise.all(named.map((issuer) => isSignedBy(list, issuer)))
  const issuer = named[verified.indexOf(true)]
  if (issuer === undefined)
    return `is not signed by the key of ${list.issuer}; expected its own CRL`
  const usages = issuer.getExtension(KeyUsagesExtension)
  if (usages !== null && (usages.usages & KeyUsageFlags.cRLSign) === 0)
    return `${list.issuer} may not sign CRLs: its keyUsage lacks cRLSign`
  return {
    issuerAt: issuers.indexOf(issuer),
    thisUpdateMs: list.thisUpdate.getTime(),
    nextUpdateMs: list.nextUpdate?.getTime(),
    revoked: new Set(list.entries.map(({ serialNumber }) => serialOf(serialNumber))),
    pem: `${PemConverter.encode(list.rawData, 'X509 CRL')}\n`,
  }
}

/** A serial number without leading zeros and in lower case, for comparison. */
export function serialOf(hex: string): string {
  return hex.replace(/^0+/, '').toLowerCase()
}

async function isSignedBy(list: X509Crl, issuer: X509Certificate): Promise<boolean> {
  try {
    return await list.verify({ publicKey: issuer.publicKey }, webcrypto)
  } catch {
    return false
  }
}
