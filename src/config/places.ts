/** Where token sets come from, and the server that holds them. */
import { isLoopback } from './addresses.ts'
import { Expected, type Kind } from './kind.ts'
import { path } from './words.ts'

/**
 * A place that token sets can be read from, as text: `file:PATH` (made absolute, from the working
 * directory), `env`, `vault:MOUNT/PATH`, `aws:SECRET-ID`.
 */
export function tokenPlace(): Kind<string> {
  const expected = new Expected(
    'places such as file:tokens.json, env, vault:secret/otel or aws:otel',
  )
  return {
    form: 'place',
    parse(text, surroundings) {
      if (text === 'env') return text
      const [, scheme, rest] = /^(file|vault|aws):(.+)$/.exec(text) ?? []
      if (rest === undefined) return expected
      if (rest.includes('#')) {
        return new Expected('a place without #: a token set takes the whole of it')
      }
      if (scheme === 'vault' && !/^[^/]+\/+[^/]/.test(rest)) {
        return new Expected('the mount and the path in it, such as vault:secret/otel')
      }
      if (scheme !== 'file') return text
      const absolute = path().parse(rest, surroundings)
      return absolute instanceof Expected ? absolute : `file:${absolute}`
    },
  }
}

/** The URL of a server; a path in front of its own is kept. */
export function serverUrl(example: string): Kind<string> {
  const expected = new Expected(`a URL such as ${example}`)
  return {
    form: 'URL',
    parse(text) {
      if (text.includes('@')) {
        return new Expected('a URL without user name and password', { hidesValue: true })
      }
      const url = URL.parse(text)
      if (url === null || !/^https?:$/.test(url.protocol) || !/^https?:\/\//i.test(text)) {
        return expected
      }
      if (url.search !== '' || url.hash !== '')
        return new Expected('a URL without query and fragment')
      return url.href.replace(/\/+$/, '')
    },
  }
}

/** Whether what is sent there travels over a network in the clear. */
export function isInTheClear(url: string): boolean {
  const { protocol, hostname } = new URL(url)
  return protocol === 'http:' && !isLoopback(hostname.replace(/^\[|\]$/g, ''))
}
