/** The names that development certificates are for. */
import type { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,62})(?:\.[a-z0-9](?:[a-z0-9-]{0,62}))*$/i
/** RFC 5280, ub-common-name. */
const MAX_CLIENT_NAME = 64
/** What reads like an address that is none: `10.0.0`, `300.1.1.1`. */
const NUMBERS = /(?:^|\.)\d+$/

/** This machine's host name, as far as it can stand in a certificate, and those of the loopback. */
export function namesFor(hostName: string): readonly string[] {
  const own = HOST_NAME.test(hostName) ? [hostName.toLowerCase()] : []
  return [...new Set([...own, ...LOOPBACK])]
}

export const LOOPBACK: readonly string[] = ['localhost', '127.0.0.1', '::1']

/** What a server's name should have been; undefined where it is good. */
export function serverNameFlaw(name: string): string | undefined {
  if (isIP(name) !== 0 && !name.includes('%')) return undefined
  const host = name.replace(/^\*\.(?=.*\.)/, '')
  if (HOST_NAME.test(host) && !NUMBERS.test(host)) return undefined
  return 'a host name or an address, without scheme and port: otlp.example.com, 10.0.0.7, fd00::7'
}

/** What a client's name should have been; undefined where it is good. */
export function clientNameFlaw(name: string): string | undefined {
  const isUri = /^[a-z][a-z0-9+.-]*:[\x21-\x7e]+$/i.test(name) && URL.canParse(name)
  if (name.length <= MAX_CLIENT_NAME && (isUri || HOST_NAME.test(name))) return undefined
  return `letters, digits, hyphens and dots, or a URI, at most ${MAX_CLIENT_NAME} characters: agent-1, spiffe://example.com/agent-1`
}

/** One way of writing for a name or address. */
export function canonicalName(name: string): string {
  return isIP(name) === 6 ? new URL(`http://[${name}]`).hostname.slice(1, -1) : name.toLowerCase()
}

/** The names and addresses in a certificate that was made here. */
export function namesIn({ subjectAltName = '' }: X509Certificate): readonly string[] {
  return subjectAltName.split(', ').map((each) => canonicalName(each.replace(/^[A-Za-z ]+:/, '')))
}
