/** Words, paths and header names. */
import { resolve } from 'node:path'
import { Expected, type Kind } from './kind.ts'
import { Secret } from './secret.ts'

/**
 * Headers that never travel on: credentials meant for this gateway, and what belongs to one
 * connection only (RFC 9110 §7.6.1) or is written anew for the collector.
 */
const REFUSED_HEADERS: Readonly<Record<string, string>> = {
  authorization: 'the token is for this gateway and never travels on',
  'proxy-authorization': 'credentials never travel on',
  cookie: 'credentials never travel on',
  host: 'it is written anew for the collector',
  connection: 'it concerns one connection only',
  'proxy-connection': 'it concerns one connection only',
  'keep-alive': 'it concerns one connection only',
  te: 'it concerns one connection only',
  trailer: 'it concerns one connection only',
  'transfer-encoding': 'it concerns one connection only',
  upgrade: 'it concerns one connection only',
  'content-length': 'it is written anew for the collector',
  expect: 'it is answered here',
}

/** One of these words. */
export function oneOf<const W extends string>(...words: readonly [W, ...W[]]): Kind<W> {
  const expected = new Expected(`one of ${words.join(', ')}`)
  return {
    form: words.join(' | '),
    parse: (text) => words.find((word) => word === text) ?? expected,
  }
}

/** A path; made absolute, from the working directory. */
export function path(): Kind<string> {
  return {
    form: 'path',
    parse: (text, { cwd }) => (text.includes('\0') ? new Expected('a path') : resolve(cwd, text)),
  }
}

/** A text that is never shown. */
export function secret(form: string): Kind<Secret> {
  return { form, parse: (text) => new Secret(text) }
}

/** The name of a request header that may travel on, in lower case. */
export function headerName(): Kind<string> {
  return {
    form: 'header',
    parse(text) {
      const name = text.toLowerCase()
      if (!/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name)) return new Expected('names of request headers')
      const reason = Object.hasOwn(REFUSED_HEADERS, name) ? REFUSED_HEADERS[name] : undefined
      if (reason === undefined) return name
      return new Expected(`headers that may be passed on; ${name} may not: ${reason}`)
    },
  }
}

/** A name or a path of another system, passed on as it is: printable, without spaces. */
export function name(): Kind<string> {
  const expected = new Expected('a name without spaces, of at most 256 characters')
  return { form: 'name', parse: (text) => (/^[!-~]{1,256}$/.test(text) ? text : expected) }
}
