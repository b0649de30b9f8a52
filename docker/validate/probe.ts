/** Single requests to the server, from a chosen address, over each way in. */
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { getCACertificates } from 'node:tls'
import { type Answer, Client, type Export, type Way } from '../../test/support/client.ts'
import { authority, mainAddress, type Target } from './target.ts'

const ANSWER_WITHIN_MS = 15_000

export interface Caller {
  readonly way: Way
  readonly port: number
  /** Of the server; default its main one. */
  readonly address?: string
  /** Of this machine; default the visitor's. */
  readonly from?: string | undefined
}

/** An answer, or in words why there was none. */
export type Outcome =
  | { readonly answer: Answer; readonly elapsedMs: number }
  | { readonly fault: string; readonly elapsedMs: number }

/** A client that verifies the certificate, and calls the server by its name whatever the address. */
export function connect(target: Target, caller: Caller): Client {
  const { visitor } = target.sources
  const from = 'from' in caller ? caller.from : visitor
  const address = caller.address ?? mainAddress(target)
  // An IPv4 address of ours leads to no IPv6 address of theirs.
  const fits = from !== undefined && from.includes(':') === address.includes(':')
  return new Client({
    way: caller.way,
    address: authority(address, caller.port),
    caPem: caOf(target),
    token: target.token,
    ...(fits ? { localAddress: from } : {}),
    tls: isIP(target.host) === 0 ? { servername: target.host } : { servername: '' },
  })
}

/** PEM of the CAs that the server's certificate is verified with. */
export function caOf({ ca }: Target): string {
  return ca === undefined ? getCACertificates('default').join('\n') : readFileSync(ca, 'utf8')
}

/** One request on a client of its own; never throws. */
export async function probe(target: Target, caller: Caller, request: Export): Promise<Outcome> {
  const client = connect(target, caller)
  try {
    return await sendOn(client, target, caller.port, request)
  } finally {
    client.close()
  }
}

/** One request on a client that is there; never throws. */
export async function sendOn(
  client: Client,
  { host }: Target,
  port: number,
  request: Export,
): Promise<Outcome> {
  const sinceMs = performance.now()
  const named =
    client.way === 'HTTP/1.1'
      ? { host: authority(host, port) }
      : { ':authority': authority(host, port) }
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const say = () => reject(new Error(`no answer within ${ANSWER_WITHIN_MS / 1000} s`))
    timer = setTimeout(say, ANSWER_WITHIN_MS)
  })
  try {
    const sent = client.send({ ...request, headers: { ...named, ...request.headers } })
    const answer = await Promise.race([sent, late])
    return { answer, elapsedMs: performance.now() - sinceMs }
  } catch (error) {
    return { fault: wordsOf(error), elapsedMs: performance.now() - sinceMs }
  } finally {
    clearTimeout(timer)
  }
}

/** Whether an export was taken: 200, and over gRPC status 0. */
export function isTaken(outcome: Outcome): boolean {
  if ('fault' in outcome) return false
  const { way, httpStatus, grpcStatus } = outcome.answer
  return httpStatus === 200 && (way !== 'gRPC' || grpcStatus === 0)
}

/** `200`, `gRPC 16`, or what went wrong. */
export function shortly(outcome: Outcome): string {
  if ('fault' in outcome) return outcome.fault
  const { way, httpStatus, grpcStatus } = outcome.answer
  return way === 'gRPC' && httpStatus === 200
    ? `gRPC ${grpcStatus ?? 'no status'}`
    : `${httpStatus}`
}

/** What an error says, with the reason that some carry inside. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  // What Node says of a stream whose connection never came about.
  const [, cause] = /\(caused by: (.*)\)$/.exec(error.message) ?? []
  return error.message === '' ? code || error.name : (cause ?? error.message)
}
