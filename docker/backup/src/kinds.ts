/** Kinds of values that only the backup tool has. */
import { Encrypter } from 'age-encryption'
import { Expected, type Kind } from '../../../src/config/kind.ts'

/** User and group by number. */
export interface Owner {
  readonly uid: number
  readonly gid: number
}

/** `65534:65534`. */
export function owner(): Kind<Owner> {
  const expected = new Expected('user and group as numbers, such as 65534:65534')
  return {
    form: 'uid:gid',
    parse(text) {
      const [, uid, gid] = /^(\d{1,9}):(\d{1,9})$/.exec(text) ?? []
      return uid === undefined || gid === undefined
        ? expected
        : { uid: Number(uid), gid: Number(gid) }
    },
  }
}

/** A time of day (`03:15`), read as minutes since midnight. */
export function clockTime(): Kind<number> {
  const expected = new Expected('a time of day in UTC, such as 03:15')
  return {
    form: 'HH:MM',
    parse(text) {
      const [, hours, minutes] = /^([01]\d|2[0-3]):([0-5]\d)$/.exec(text) ?? []
      return hours === undefined ? expected : Number(hours) * 60 + Number(minutes)
    },
  }
}

/** Public keys of age, separated by commas, spaces or lines; lines that begin with `#` do not count. */
export function recipients(): Kind<readonly string[]> {
  const expected = new Expected(
    'public keys of age, which begin with age1 (tollgate-backup key makes a pair)',
    // Somebody may have put the secret key here.
    { hidesValue: true },
  )
  return {
    form: 'age1…, …',
    parse(text) {
      const keys = text
        .replace(/^\s*#.*$/gm, '')
        .split(/[\s,]+/)
        .filter((key) => key !== '')
      return keys.length > 0 && keys.every(isRecipient) ? keys : expected
    },
  }
}

function isRecipient(key: string): boolean {
  try {
    new Encrypter().addRecipient(key)
    return true
  } catch {
    return false
  }
}

/** The name of a bucket or a region. */
export function s3Name(): Kind<string> {
  const expected = new Expected('a name of lower case letters, digits, dots and hyphens')
  return {
    form: 'name',
    parse: (text) => (/^[a-z0-9][a-z0-9.-]{1,62}$/.test(text) ? text : expected),
  }
}

/** What the names of objects begin with; a slash is put at its end. */
export function s3Prefix(): Kind<string> {
  const expected = new Expected('a prefix such as tollgate/vps-1/, not beginning with a slash')
  return {
    form: 'prefix/',
    parse: (text) =>
      /^[A-Za-z0-9._-]+(?:\/[A-Za-z0-9._-]+)*\/?$/.test(text) && text.length <= 200
        ? text.replace(/\/?$/, '/')
        : expected,
  }
}
