/** Encryption with age, in passing: neither way holds more than a few chunks of 64 kB. */
import { Readable } from 'node:stream'
import type { ReadableStream as WebStream } from 'node:stream/web'
import { Decrypter, Encrypter, generateX25519Identity, identityToRecipient } from 'age-encryption'
import type { Settings } from './settings.ts'
import { Unusable } from './unusable.ts'

type Lock = Pick<Settings, 'recipients' | 'passphrase'>
type Key = Pick<Settings, 'identity' | 'passphrase'>

/** Whether new backups are encrypted. */
export function isEncrypting({ recipients, passphrase }: Lock): boolean {
  return recipients.length > 0 || passphrase !== undefined
}

/** Whether encrypted backups can be read here. */
export function hasKey({ identity, passphrase }: Key): boolean {
  return identity !== undefined || passphrase !== undefined
}

/** Encrypts for the recipients, or with the passphrase. */
export async function encrypted(plain: Readable, lock: Lock): Promise<Readable> {
  const encrypter = new Encrypter()
  for (const recipient of lock.recipients) encrypter.addRecipient(recipient)
  if (lock.recipients.length === 0 && lock.passphrase !== undefined)
    encrypter.setPassphrase(lock.passphrase.reveal())
  return fromWeb(await encrypter.encrypt(toWeb(plain)))
}

/** @throws {Unusable} where there is no key, the wrong one, or what was read is not age's. */
export async function decrypted(cipher: Readable, key: Key): Promise<Readable> {
  const decrypter = new Decrypter()
  if (!hasKey(key))
    throw new Unusable(
      'the archive is encrypted and there is no key: set TOLLGATE_BACKUP_IDENTITY_FILE or TOLLGATE_BACKUP_PASSPHRASE_FILE',
    )
  for (const identity of identitiesIn(key.identity?.reveal() ?? '')) {
    try {
      decrypter.addIdentity(identity)
    } catch {
      throw new Unusable('TOLLGATE_BACKUP_IDENTITY is not a secret key of age (AGE-SECRET-KEY-1…)')
    }
  }
  if (key.passphrase !== undefined) decrypter.addPassphrase(key.passphrase.reveal())
  try {
    return fromWeb(await decrypter.decrypt(toWeb(cipher)))
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw /no identity matched/i.test(why)
      ? new Unusable('the key does not fit: the archive was encrypted for another one')
      : new Unusable(`the archive cannot be decrypted: ${why}`)
  }
}

/** A new pair: the file of the secret key as `age-keygen` writes it, and the public key. */
export async function newKey(nowMs: number): Promise<{ file: string; recipient: string }> {
  const identity = await generateX25519Identity()
  const recipient = await identityToRecipient(identity)
  const created = new Date(nowMs).toISOString()
  return { recipient, file: `# created: ${created}\n# public key: ${recipient}\n${identity}\n` }
}

function identitiesIn(text: string): string[] {
  return text
    .split(/\s*\n\s*|\s*,\s*/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
}

function toWeb(stream: Readable): ReadableStream<Uint8Array> {
  return Readable.toWeb(stream) as unknown as ReadableStream<Uint8Array>
}

function fromWeb(stream: ReadableStream<Uint8Array>): Readable {
  return Readable.fromWeb(stream as unknown as WebStream)
}
