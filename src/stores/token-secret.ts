/**
 * The written form of a token made by Tollgate: `tg_<id>_<secret><checksum>`. The alphabet is
 * `[A-Za-z0-9_]`, which survives dotenv files, shells, URL-decoded header variables and YAML.
 */
import { hash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'

const ID_ALPHABET = 'abcdefghijkmnpqrstuvwxyz23456789'
const ID_LENGTH = 8
const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const SECRET_BYTES = 32
/** 62^43 > 2^256, and 62^6 > 2^32. */
const SECRET_LENGTH = 43
const CHECKSUM_LENGTH = 6

const TOKEN_SHAPE = /^tg_([a-km-np-z2-9]{8})_[0-9A-Za-z]{49}$/
const TOKEN_INSIDE = /tg_[a-z0-9]{8}_[0-9A-Za-z]{20,}/g

/** A token just made. The secret exists nowhere else. */
export interface NewToken {
  /** Public name: 8 characters of `[a-z2-9]` without `l` and `o`. */
  readonly id: string
  /** What the agent sends after `Bearer `: 61 characters. */
  readonly token: string
}

/** Makes a token from 256 random bits. `bytes` (32 for the secret, 8 for the id) is for tests. */
export function createToken(bytes: Uint8Array = randomBytes(SECRET_BYTES + ID_LENGTH)): NewToken {
  if (bytes.length !== SECRET_BYTES + ID_LENGTH) throw new TypeError('expected 40 random bytes')
  let id = ''
  for (const byte of bytes.subarray(SECRET_BYTES)) id += ID_ALPHABET.charAt(byte % 32)
  const hex = Buffer.from(bytes.subarray(0, SECRET_BYTES)).toString('hex')
  const body = `tg_${id}_${base62(BigInt(`0x${hex}`), SECRET_LENGTH)}`
  return { id, token: body + checksumOf(body) }
}

/** Whether a text has the shape of a token made by Tollgate. Says nothing of whether it is valid. */
export function looksLikeTollgateToken(text: string): boolean {
  return TOKEN_SHAPE.test(text)
}

/**
 * Whether the last six characters are the checksum (base62 of the CRC-32) of those before. Tells a
 * mistyped token from an unknown one, offline; it is no proof of anything else.
 */
export function verifyChecksum(token: string): boolean {
  if (!looksLikeTollgateToken(token)) return false
  return checksumOf(token.slice(0, -CHECKSUM_LENGTH)) === token.slice(-CHECKSUM_LENGTH)
}

/** The id written inside a token made by Tollgate, or undefined for any other or a mistyped one. */
export function idFromToken(token: string): string | undefined {
  return verifyChecksum(token) ? TOKEN_SHAPE.exec(token)?.[1] : undefined
}

/** SHA-256 of a token in lower-case hexadecimal: what a set keeps of it, and how it is looked up. */
export function digestOf(token: string): string {
  return hash('sha256', token)
}

/** Replaces everything that looks like a Tollgate token, for text that is going to be shown. */
export function withoutTokens(text: string): string {
  return text.replace(TOKEN_INSIDE, 'tg_…')
}

function checksumOf(body: string): string {
  return base62(BigInt(crc32(body)), CHECKSUM_LENGTH)
}

function base62(value: bigint, length: number): string {
  let text = ''
  for (let rest = value; rest > 0n; rest /= 62n) text = BASE62.charAt(Number(rest % 62n)) + text
  return text.padStart(length, '0')
}
