/** The private key of a certificate: found among PEM blocks, decrypted, and read. */
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { CertificateError, inShell } from './certificate-error.ts'
import { labelsOf, type PemBlock } from './pem.ts'

/** EC curves that clients take, by OpenSSL's names. */
const CURVES: readonly string[] = ['prime256v1', 'secp384r1', 'secp521r1']
const MIN_RSA_BITS = 2048

/**
 * The key among the blocks: PKCS #8, PKCS #1 or SEC 1, encrypted or not. Throws a `CertificateError`,
 * which never quotes the key or its passphrase.
 */
export function privateKeyOf(
  path: string,
  blocks: readonly PemBlock[],
  passphrase: string | undefined,
): KeyObject {
  // OpenSSL writes the curve as a block of its own in front of an EC key.
  const keys = blocks.filter(({ label }) => label.endsWith('PRIVATE KEY'))
  const [block] = keys
  const look = `openssl pkey -in ${inShell(path)} -noout -text_pub`
  if (block === undefined) {
    const isSwapped = blocks.some(({ label }) => label.endsWith('CERTIFICATE'))
    throw new CertificateError(
      path,
      `expected a private key, found ${labelsOf(blocks)}${isSwapped ? '; it seems that certificate and key are swapped' : ''}`,
      { look: `grep -- -----BEGIN ${inShell(path)}` },
    )
  }
  if (keys.length > 1) {
    throw new CertificateError(path, 'holds several private keys; expected one', {
      look: `grep -- -----BEGIN ${inShell(path)}`,
    })
  }
  const isEncrypted =
    block.label.startsWith('ENCRYPTED') || /^Proc-Type:.*ENCRYPTED/m.test(block.text)
  if (isEncrypted && passphrase === undefined) {
    throw new CertificateError(
      path,
      'the key is encrypted; expected its passphrase in TOLLGATE_TLS_KEY_PASSPHRASE, or a key without one',
      { look },
    )
  }
  try {
    return createPrivateKey(
      isEncrypted ? { key: block.text, passphrase: passphrase ?? '' } : block.text,
    )
  } catch {
    // OpenSSL's reason is left out: it tells a stranger more than the operator.
    const problem = isEncrypted
      ? 'the passphrase does not open the key; expected the one it was encrypted with in TOLLGATE_TLS_KEY_PASSPHRASE'
      : 'the private key is damaged'
    throw new CertificateError(path, problem, { look })
  }
}

/** Throws a `CertificateError` for a public key that clients refuse for its kind or its length. */
export function checkStrength(path: string, key: KeyObject): void {
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {}
  const refuse = (found: string) => {
    throw new CertificateError(
      path,
      `the key of the certificate is ${found}; expected RSA of ${MIN_RSA_BITS} bits or more, EC with P-256, P-384 or P-521, or Ed25519`,
      { look: `openssl x509 -in ${inShell(path)} -noout -text | grep -A 2 'Public Key'` },
    )
  }
  const type = key.asymmetricKeyType
  if (type === 'rsa' || type === 'rsa-pss') {
    if (modulusLength < MIN_RSA_BITS) refuse(`RSA of ${modulusLength} bits`)
  } else if (type === 'ec') {
    if (!CURVES.includes(namedCurve)) refuse(`EC with ${namedCurve || 'a curve of its own'}`)
  } else if (type !== 'ed25519') refuse(type ?? 'of an unknown kind')
}
