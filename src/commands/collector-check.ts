/** Asks a collector whether it is there, as far as a stranger without data can. */
import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { connect } from 'node:net'
import type { CollectorAddress } from '../config/addresses.ts'
import { checkHealth } from '../upstream/health.ts'

/** How one look ended. */
export interface Look {
  readonly isGood: boolean
  readonly words: string
}

const NETWORK_WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'no such host name',
  EAI_AGAIN: 'the host name cannot be looked up now',
  EHOSTUNREACH: 'no way to that host',
  ENETUNREACH: 'no way to that network',
  ETIMEDOUT: 'no answer',
  ECONNRESET: 'it closed the connection; does it speak TLS where http:// is written?',
  EPROTO: 'no TLS there; is it http:// instead?',
  ERR_SSL_WRONG_VERSION_NUMBER: 'no TLS there; is it http:// instead?',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'no TLS there; is it http:// instead?',
}

const STATUS_WORDS: Readonly<Record<number, string>> = {
  401: 'it asks for credentials, and Tollgate has none for it',
  403: 'it does not let Tollgate in',
  404: 'there is no OTLP/HTTP on that path',
  405: 'it does not take POST there; is that OTLP/HTTP?',
  415: 'it does not take protobuf',
}

/** The gRPC way: a connection, then its health. Never rejects. */
export async function lookAtGrpc(
  address: CollectorAddress,
  ca: string | undefined,
  timeoutMs: number,
): Promise<Look> {
  const refusal = await tryConnection(address, timeoutMs)
  if (refusal !== undefined) return { isGood: false, words: refusal }
  const { isServing, words } = await checkHealth({ address, ca, timeoutMs })
  return { isGood: isServing, words }
}

/** The HTTP way: an export of nothing, which every collector accepts. Never rejects. */
export function lookAtHttp(
  address: CollectorAddress,
  ca: string | undefined,
  timeoutMs: number,
): Promise<Look> {
  const { protocol, host, port, path } = address
  const { promise, resolve } = Promise.withResolvers<Look>()
  const fail = (error: unknown) => resolve({ isGood: false, words: wordsOf(error, timeoutMs) })
  const options = {
    method: 'POST',
    host,
    port,
    path: `${path}/v1/traces`,
    headers: { 'content-type': 'application/x-protobuf', 'content-length': 0 },
    agent: false,
    signal: AbortSignal.timeout(timeoutMs),
    ...(ca === undefined ? {} : { ca }),
  }
  const asking = (protocol === 'https:' ? requestHttps : requestHttp)(options, (answer) => {
    answer.on('error', () => {}).resume()
    const status = answer.statusCode ?? 0
    if (status === 200) resolve({ isGood: true, words: 'takes exports' })
    else resolve({ isGood: false, words: `answers ${status}${reasonFor(status)}` })
  })
  asking.on('error', fail).end()
  return promise
}

function tryConnection(
  { host, port }: CollectorAddress,
  timeoutMs: number,
): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>()
  const socket = connect({ host, port, timeout: timeoutMs })
  const finish = (words: string | undefined) => {
    socket.destroy()
    resolve(words)
  }
  socket.once('connect', () => finish(undefined))
  socket.once('timeout', () => finish(`no answer within ${timeoutMs} ms`))
  socket.on('error', (error) => finish(wordsOf(error, timeoutMs)))
  return promise
}

function wordsOf(error: unknown, timeoutMs: number): string {
  if (error instanceof Error && error.name === 'AbortError')
    return `no answer within ${timeoutMs} ms`
  const first = error instanceof AggregateError ? error.errors[0] : error
  const { code = '', message } = first as NodeJS.ErrnoException
  return (Object.hasOwn(NETWORK_WORDS, code) ? NETWORK_WORDS[code] : undefined) ?? message
}

function reasonFor(status: number): string {
  const words = STATUS_WORDS[status]
  return words === undefined ? '' : `: ${words}`
}
