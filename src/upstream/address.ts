/** Where a collector is. */

/** One address of the collector, as the operator wrote it. */
export interface Address {
  /** `http:` is h2c with prior knowledge for gRPC, `https:` is TLS. */
  readonly protocol: 'http:' | 'https:'
  /** Name or IP address; IPv6 with or without its brackets. */
  readonly host: string
  readonly port: number
  /** What stands before the OTLP path: empty or `/` for nothing. */
  readonly path: string
}

/** `host:port`, with brackets around an IPv6 address: the value of `:authority` and `Host`. */
export function authorityOf({ host, port }: Address): string {
  const name = bareHost(host)
  return `${name.includes(':') ? `[${name}]` : name}:${port}`
}

/** `http://host:port`, without the path. */
export function originOf(address: Address): string {
  return `${address.protocol}//${authorityOf(address)}`
}

/** The host as sockets take it: without brackets. */
export function bareHost(host: string): string {
  return host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
}

/** The path of the address followed by an OTLP path. */
export function pathUnder({ path }: Address, otlpPath: string): string {
  return path.endsWith('/') ? path.slice(0, -1) + otlpPath : path + otlpPath
}
