/** Keys of an issuer and JWTs made with them, good or bad as the test wants them. */
import { createHmac } from 'node:crypto'
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'

/** The algorithm of every key here. */
export const ALGORITHM = 'ES256'

export interface SigningKey {
  readonly kid: string
  readonly privateKey: CryptoKey
  /** As it is published. */
  readonly jwk: JWK
  /** For a provider that is to sign with it. */
  readonly privateJwk: JWK
}

/** A new key. */
export async function signingKey(kid: string, alg = ALGORITHM): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  const named = { kid, alg, use: 'sig' }
  return {
    kid,
    privateKey,
    jwk: { ...(await exportJWK(publicKey)), ...named },
    privateJwk: { ...(await exportJWK(privateKey)), ...named },
  }
}

/** A JWT signed by `key`. `header` goes over the header it would have. */
export async function sign(
  key: SigningKey,
  claims: Readonly<Record<string, unknown>>,
  header: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const { kid, jwk } = key
  return await new SignJWT({ ...claims })
    .setProtectedHeader({ alg: jwk.alg ?? ALGORITHM, kid, typ: 'at+jwt', ...header })
    .sign(key.privateKey)
}

/** A JWT put together by hand. `signature` is given what is to be signed. */
export function forge(
  header: unknown,
  claims: unknown,
  signature: string | ((input: string) => Buffer),
): string {
  const input = `${part(header)}.${part(claims)}`
  const end = typeof signature === 'string' ? signature : signature(input).toString('base64url')
  return `${input}.${end}`
}

/** The signature of HS256 with a secret. */
export function hs256(secret: string | Buffer): (input: string) => Buffer {
  return (input) => createHmac('sha256', secret).update(input).digest()
}

/** Texts go in as they are, everything else as JSON. */
function part(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return Buffer.from(text).toString('base64url')
}
