/** The server that is looked at, and what is known of it. */
import type { Sample } from '../../test/support/prometheus.ts'

/** What one process or container uses, and may use. */
export interface Usage {
  readonly name: string
  readonly memoryBytes: number
  /** Undefined: nothing limits it. */
  readonly memoryLimitBytes: number | undefined
  /** 100 is one processor. */
  readonly cpuPercent: number
}

/** What only somebody on the server itself can see and do. */
export interface Inside {
  /** An instant query of its Prometheus. Throws where it does not answer. */
  query(expr: string): Promise<readonly Sample[]>
  /** How that is asked for by hand. */
  queryByHand(expr: string): string
  usage(): Promise<readonly Usage[]>
  readonly usageByHand: string
  /** Addresses that are banned now. */
  bans(): Promise<readonly string[]>
  /** Lifts the ban of an address. Throws where the command fails. */
  lift(address: string): Promise<void>
  /** `host:port` of the collector's OTLP/gRPC, in plaintext, where it can be reached from here. */
  readonly collectorGrpc: string | undefined
  /** `host:port` of the same gateway without a rate limit, started for this and stopped by `stop`. */
  readonly unlimited: (() => Promise<{ readonly grpc: string; stop(): Promise<void> }>) | undefined
  /** Names and addresses of the inside that no answer may tell. */
  readonly secrets: readonly string[]
  /** Backs up, verifies and restores; undefined where no backup tool is set up. */
  readonly backup: BackupDrill | undefined
}

/** The steps of the drill, each told in a line. Throws where one of them fails. */
export interface BackupDrill {
  run(): Promise<readonly string[]>
  readonly byHand: string
}

/** Addresses of this machine to come from; undefined leaves it to the system. */
export interface Sources {
  /** Of the honest agent, which must not share the attacker's. */
  readonly agent: string | undefined
  /** Of whoever goes over the rate limit. */
  readonly hasty: string | undefined
  /** Of all else. */
  readonly visitor: string | undefined
}

export interface Target {
  readonly mode: 'server' | 'bare' | 'stack'
  /** The name agents call it by, which is in its certificate. */
  readonly host: string
  /** Addresses that it is reached at: IPv4 and IPv6, without brackets. */
  readonly addresses: readonly string[]
  /** Whether these are others than the name leads to. */
  readonly isRedirected: boolean
  readonly grpcPort: number
  readonly httpPort: number
  /** PEM file with the CA; undefined for the system's. */
  readonly ca: string | undefined
  readonly token: string
  /** Ports that may be open to the world. */
  readonly openPorts: readonly number[]
  /** Ports that are tried: a list, or every one. */
  readonly triedPorts: readonly number[] | 'all'
  readonly sources: Sources
  /** What an address may send; undefined for no limit. */
  readonly ratePerSecond: number | undefined
  readonly burst: number
  /** Tries that ban. */
  readonly strikes: number
  /** `http://host:port` of the admin port, where it can be reached from here. */
  readonly admin: string | undefined
  readonly inside: Inside | undefined
}

/** How `host:port` is written, IPv6 in brackets. */
export function authority(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/** The address that is used where one is enough: IPv4 if there is one. Throws for none. */
export function mainAddress({ addresses, host }: Target): string {
  const address = addresses.find((each) => !each.includes(':')) ?? addresses[0]
  if (address === undefined) throw new Error(`${host} has no address`)
  return address
}
