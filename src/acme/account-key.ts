/** The key of an account (ES256): made once, kept as a JWK, and what signs every request. */
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { calculateJwkThumbprint, FlattenedSign, type JWK } from 'jose'

/** The private key as it is kept. Never log it. */
export type PrivateJwk = JWK & { readonly kty: 'EC'; readonly crv: 'P-256' }

/** Makes a new key. */
export function newAccountKey(): PrivateJwk {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return privateKey.export({ format: 'jwk' }) as PrivateJwk
}

/** Signs for one account. */
export class AccountKey {
  readonly #key: KeyObject
  readonly #public: JWK

  /** @throws {TypeError} where it is no private key on P-256. Quotes nothing of it. */
  constructor(jwk: PrivateJwk) {
    const { kty, crv, x = '', y = '' } = jwk
    try {
      if (crv !== 'P-256') throw new Error('another curve')
      this.#key = createPrivateKey({ key: jwk, format: 'jwk' })
    } catch {
      throw new TypeError('the key of the account is damaged')
    }
    this.#public = { kty, crv, x, y }
  }

  /** A signed request (RFC 8555 §6.2). `payload` undefined makes it POST-as-GET; `kid` undefined names the key itself. */
  async sign(
    url: string,
    nonce: string,
    kid: string | undefined,
    payload: unknown,
  ): Promise<string> {
    const text = payload === undefined ? '' : JSON.stringify(payload)
    const who = kid === undefined ? { jwk: this.#public } : { kid }
    const signed = await new FlattenedSign(new TextEncoder().encode(text))
      .setProtectedHeader({ alg: 'ES256', nonce, url, ...who })
      .sign(this.#key)
    return JSON.stringify(signed)
  }

  /** What proves that a challenge is ours (RFC 8555 §8.1). */
  async keyAuthorization(token: string): Promise<string> {
    return `${token}.${await calculateJwkThumbprint(this.#public)}`
  }
}

/** SHA-256 of a key authorization, as TLS-ALPN-01 wants it. */
export function digestOfAuthorization(keyAuthorization: string): Buffer {
  return createHash('sha256').update(keyAuthorization).digest()
}
