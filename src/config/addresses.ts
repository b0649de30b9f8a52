/** Where to listen, where the collector is, and whose addresses are meant. */
import { isIP, isIPv6 } from 'node:net'
import { Expected, type Kind } from './kind.ts'

/** An address to listen on. */
export interface ListenAddress {
  /** An IP address without brackets, or a host name. */
  readonly host: string
  /** 0 lets the operating system choose. */
  readonly port: number
}

/** Where a collector takes one protocol. */
export interface CollectorAddress {
  readonly protocol: 'http:' | 'https:'
  /** An IP address without brackets, or a host name. */
  readonly host: string
  readonly port: number
  /** `protocol//host:port`, the port always written out and IPv6 in brackets. */
  readonly origin: string
  /** Goes before `/v1/traces` and the like: empty, or `/prefix` without a slash at its end. */
  readonly path: string
}

const HOST_NAME = /^(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?$/

/** `host:port`, `[IPv6]:port`, or `:port` for every address of the machine. */
export function listenAddress(): Kind<ListenAddress> {
  const expected = new Expected('host:port, such as 127.0.0.1:4317, [::]:4317 or :4317')
  return {
    form: 'host:port',
    parse(text) {
      const [, bracketed, plain, digits] =
        /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(text) ?? []
      const port = Number(digits)
      if (digits === undefined || port > 65_535) return expected
      if (bracketed !== undefined) {
        return isIPv6(bracketed) ? Object.freeze({ host: bracketed, port }) : expected
      }
      if (plain === '') return Object.freeze({ host: '::', port })
      return isHost(plain) ? Object.freeze({ host: plain, port }) : expected
    },
  }
}

/** Whether only this machine can reach a listener on this host. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\./.test(host)
}

/**
 * A collector's URL. `defaultPort` stands in for a port left out (4317 or 4318, not 80 or 443).
 * A path in front of `/v1/…` makes sense for OTLP/HTTP only: gRPC's paths are fixed.
 */
export function collectorUrl(options: {
  readonly defaultPort: number
  readonly takesPath: boolean
}): Kind<CollectorAddress> {
  const { defaultPort, takesPath } = options
  const expected = new Expected(
    `a URL such as http://collector:${defaultPort} or https://collector:${defaultPort}`,
  )
  return {
    form: 'URL',
    parse(text) {
      if (text.includes('@')) {
        return new Expected('a URL without user name and password', { hidesValue: true })
      }
      const [, scheme, bracketed, name, digits, tail = ''] =
        /^(https?):\/\/(?:\[([^\]]+)\]|([^:/?#[\]]+))(?::(\d{1,5}))?([/?#].*)?$/i.exec(text) ?? []
      const host = bracketed ?? name
      const port = digits === undefined ? defaultPort : Number(digits)
      if (scheme === undefined || host === undefined || port < 1 || port > 65_535) return expected
      if (bracketed === undefined ? !isHost(host) : !isIPv6(bracketed)) return expected
      const path = tail.replace(/\/+$/, '')
      if (!/^[\w./~%+-]*$/.test(path)) return new Expected('a URL without query and fragment')
      if (/\/v1(?:development)?\/\w+$/.test(path)) {
        return new Expected('the base URL alone: each signal adds its own path, such as /v1/traces')
      }
      if (path !== '' && !takesPath) return new Expected('a URL without a path: gRPC has its own')
      const protocol = scheme.toLowerCase() === 'https' ? 'https:' : 'http:'
      const shownHost = bracketed === undefined ? host : `[${bracketed}]`
      return Object.freeze({
        protocol,
        host,
        port,
        origin: `${protocol}//${shownHost}:${port}`,
        path,
      })
    },
  }
}

/** An address or a CIDR, kept as it was written. */
export function addressRange(): Kind<string> {
  const expected = new Expected(
    'addresses or CIDRs such as 203.0.113.7, 10.0.0.0/8 or 2001:db8::/48',
  )
  return { form: 'CIDR', parse: (text) => (isRange(text) ? text : expected) }
}

/** Like `addressRange`, and the words `loopback` and `private`. */
export function exemptRange(): Kind<string> {
  const expected = new Expected(
    'loopback, private, none, addresses or CIDRs such as 203.0.113.7 or 2001:db8::/48',
  )
  return {
    form: 'CIDR | loopback | private',
    parse: (text) => (text === 'loopback' || text === 'private' || isRange(text) ? text : expected),
  }
}

function isRange(text: string): boolean {
  const [, address = '', bits] = /^([^/%]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const family = isIP(address)
  return family !== 0 && Number(bits ?? 0) <= (family === 4 ? 32 : 128)
}

/** A host name or an IP address, in lower case and without a dot at its end. */
export function hostName(): Kind<string> {
  const expected = new Expected('a host name such as otlp.example.com')
  return {
    form: 'name',
    parse(text) {
      const name = text.toLowerCase().replace(/\.$/, '')
      return isIP(name) !== 0 || isHost(name) ? name : expected
    },
  }
}

function isHost(text: string | undefined): text is string {
  if (text === undefined || text.length > 253 || !HOST_NAME.test(text)) return false
  // What looks like an IPv4 address must be one: 10.0.0.256 is a slip, not a name.
  return !/^[\d.]+$/.test(text) || isIP(text) === 4
}
