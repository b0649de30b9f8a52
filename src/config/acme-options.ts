/** The options for certificates by ACME. */
import { hostName, listenAddress } from './addresses.ts'
import { Expected, type Kind, listOf, orOff } from './kind.ts'
import { option } from './option.ts'
import { oneOf, path } from './words.ts'

const NONE: readonly never[] = Object.freeze([])
/** Let's Encrypt takes no more in one certificate. */
const MAX_NAMES = 100

/** Directories that have a name of their own here. */
const DIRECTORIES: Readonly<Record<string, string>> = {
  letsencrypt: 'https://acme-v02.api.letsencrypt.org/directory',
  'letsencrypt-staging': 'https://acme-staging-v02.api.letsencrypt.org/directory',
}

export const ACME_OPTIONS = {
  acme: option({
    env: 'TOLLGATE_ACME',
    group: 'ACME',
    kind: orOff(acmeDirectory()),
    default: 'off',
    about:
      'Whether the gateway gets its own certificate, and where from. Begin with letsencrypt-staging, whose certificates nobody trusts and whose limits forgive mistakes.',
  }),
  acmeDomains: option({
    env: 'TOLLGATE_ACME_DOMAINS',
    group: 'ACME',
    kind: acmeNames(),
    unset: NONE,
    about: 'The names in the certificate: those by which agents call the gateway.',
  }),
  acmeTerms: option({
    env: 'TOLLGATE_ACME_TERMS',
    group: 'ACME',
    kind: oneOf('agreed'),
    about:
      'Says that you have read the terms of those who issue the certificate, and agree to them.',
  }),
  acmeEmail: option({
    env: 'TOLLGATE_ACME_EMAIL',
    group: 'ACME',
    kind: emailAddress(),
    about: 'Where the directory may write to, if it writes at all.',
  }),
  acmeChallenge: option({
    env: 'TOLLGATE_ACME_CHALLENGE',
    group: 'ACME',
    kind: oneOf('http-01', 'tls-alpn-01'),
    default: 'http-01',
    about:
      'How a name is proved: on port 80, which comes to TOLLGATE_ACME_HTTP_LISTEN, or on port 443, which comes to a public port.',
  }),
  acmeHttpListen: option({
    env: 'TOLLGATE_ACME_HTTP_LISTEN',
    group: 'ACME',
    kind: listenAddress(),
    default: '[::]:80',
    about: 'Port for http-01, open only while a challenge waits; it answers nothing else.',
  }),
  acmeCa: option({
    env: 'TOLLGATE_ACME_CA',
    group: 'ACME',
    kind: path(),
    about: "PEM file with the CA of a private directory, where the system's CAs do not know it.",
  }),
} as const

/** A directory by its name or its URL. */
export function acmeDirectory(): Kind<string> {
  const words = Object.keys(DIRECTORIES)
  const expected = new Expected(
    `${words.join(', ')}, or the https URL of a directory, without user name and password`,
    { hidesValue: true },
  )
  return {
    form: `${words.join(' | ')} | URL`,
    parse(text) {
      if (Object.hasOwn(DIRECTORIES, text)) return DIRECTORIES[text] ?? expected
      const url = URL.canParse(text) ? new URL(text) : undefined
      const isGood = url?.protocol === 'https:' && url.username === '' && url.password === ''
      if (isGood && url.hash === '') return url.href
      // Only what may hold a password is kept back.
      return text.includes('@') ? expected : new Expected(expected.what)
    },
  }
}

/** Names for a certificate, in lower case, each once. */
export function acmeNames(): Kind<readonly string[]> {
  const list = listOf(acmeName())
  return {
    form: list.form,
    parse(text, surroundings) {
      const names = list.parse(text, surroundings)
      if (names instanceof Expected) return names
      if (names.length > MAX_NAMES) return new Expected(`at most ${MAX_NAMES} names`)
      return Object.freeze([...new Set(names)])
    },
  }
}

function acmeName(): Kind<string> {
  const hosts = hostName()
  return {
    form: hosts.form,
    parse(text, surroundings) {
      const name = text.toLowerCase().replace(/\.$/, '')
      if (name.startsWith('*.')) {
        return new Expected(
          'names without *: that takes a challenge in DNS, which is not spoken here',
        )
      }
      const parsed = hosts.parse(name, surroundings)
      if (parsed instanceof Expected) return parsed
      const isPublic = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]$/.test(
        name,
      )
      return isPublic ? name : new Expected('full host names such as otlp.example.com')
    },
  }
}

function emailAddress(): Kind<string> {
  const expected = new Expected('one e-mail address such as ops@example.com')
  return {
    form: 'e-mail address',
    parse: (text) => (/^[^\s@,?;<>]{1,64}@[^\s@,?;<>]{1,255}$/.test(text) ? text : expected),
  }
}
