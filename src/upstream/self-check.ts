/**
 * Sends one trace, one metric and one log to a gateway over gRPC and over HTTP, as an agent would,
 * and says in words what became of each.
 */
import {
  type ChannelCredentials,
  Client,
  type ClientOptions,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import { Client as HttpClient } from 'undici'
import { fieldsOf } from '../otlp/protobuf.ts'
import { GRPC_PATHS, HTTP_PATHS } from '../otlp/signal.ts'
import { wordsOf } from './fault.ts'
import { readRejection, SAMPLE_SIGNALS, type SampleSignal, sampleRequests } from './sample.ts'

const USER_AGENT = 'tollgate-self-check'

export interface SelfCheckOptions {
  /** `host:port` of the gRPC port; undefined leaves gRPC out. */
  readonly grpcTarget?: string | undefined
  /** `https://host:port` or `http://host:port`; undefined leaves HTTP out. */
  readonly httpOrigin?: string | undefined
  /** Sent as a bearer token; undefined sends none. */
  readonly token?: string | undefined
  /** PEM of the CA to trust instead of the system's. */
  readonly caPem?: string | undefined
  /** Whether gRPC uses TLS. Default: where a CA is given or the HTTP origin says `https:`. */
  readonly isTls?: boolean | undefined
  /** The name the certificate has to be for, where it is not that of the address. */
  readonly serverName?: string | undefined
  /** For each export. */
  readonly timeoutMs: number
}

/** What became of one export. */
export interface Result {
  readonly protocol: 'grpc' | 'http'
  readonly signal: SampleSignal
  readonly ok: boolean
  /** `accepted`, or what went wrong. Never the token. */
  readonly words: string
  readonly ms: number
}

/** Sends them, one after the other for each protocol. Never rejects. gRPC first in the result. */
export async function sendOneOfEach(options: SelfCheckOptions): Promise<readonly Result[]> {
  const requests = sampleRequests(Date.now())
  const results = await Promise.all([
    sendOverGrpc(options, requests),
    sendOverHttp(options, requests),
  ])
  return results.flat()
}

type Requests = Readonly<Record<SampleSignal, Uint8Array>>
type Verdict = Pick<Result, 'ok' | 'words'>

async function sendOverGrpc(options: SelfCheckOptions, requests: Requests): Promise<Result[]> {
  const { grpcTarget, serverName, token, timeoutMs } = options
  if (grpcTarget === undefined) return []
  const clientOptions: ClientOptions = {
    'grpc.enable_retries': 0,
    'grpc.enable_http_proxy': 0,
    'grpc.primary_user_agent': USER_AGENT,
    ...(serverName === undefined ? {} : { 'grpc.ssl_target_name_override': serverName }),
  }
  const client = new Client(grpcTarget, channelOf(options), clientOptions)
  const metadata = new Metadata()
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`)
  const send = (signal: SampleSignal) =>
    new Promise<Verdict>((resolve) => {
      client.makeUnaryRequest<Buffer, Buffer>(
        GRPC_PATHS[signal],
        (bytes) => bytes,
        (bytes) => bytes,
        Buffer.from(requests[signal]),
        metadata,
        { deadline: Date.now() + timeoutMs },
        (error: ServiceError | null, answer?: Buffer) => {
          if (error === null) resolve(verdictOn(signal, answer ?? Buffer.alloc(0)))
          else {
            const code = status[error.code] ?? `status ${error.code}`
            resolve({ ok: false, words: `${code}: ${plainDetails(error.details)}` })
          }
        },
      )
    })
  try {
    return await eachSignal('grpc', send)
  } finally {
    client.close()
  }
}

function channelOf({ caPem, httpOrigin, isTls }: SelfCheckOptions): ChannelCredentials {
  const usesTls = isTls ?? (caPem !== undefined || httpOrigin?.startsWith('https:') === true)
  if (!usesTls) return credentials.createInsecure()
  return credentials.createSsl(caPem === undefined ? null : Buffer.from(caPem))
}

async function sendOverHttp(
  { httpOrigin, caPem, serverName, token, timeoutMs }: SelfCheckOptions,
  requests: Requests,
): Promise<Result[]> {
  if (httpOrigin === undefined) return []
  const client = new HttpClient(httpOrigin, {
    allowH2: false,
    connect: {
      timeout: timeoutMs,
      ...(caPem === undefined ? {} : { ca: caPem }),
      ...(serverName === undefined ? {} : { servername: serverName }),
    },
  })
  const headers = {
    'content-type': 'application/x-protobuf',
    'user-agent': USER_AGENT,
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  }
  const send = async (signal: SampleSignal): Promise<Verdict> => {
    try {
      const answer = await client.request({
        method: 'POST',
        path: HTTP_PATHS[signal],
        headers,
        body: requests[signal],
        signal: AbortSignal.timeout(timeoutMs),
      })
      const body = Buffer.from(await answer.body.arrayBuffer())
      if (answer.statusCode === 200) return verdictOn(signal, body)
      return { ok: false, words: `HTTP ${answer.statusCode}: ${statusMessage(body)}` }
    } catch (error) {
      const isLate = error instanceof Error && error.name === 'TimeoutError'
      return { ok: false, words: isLate ? 'no answer in time' : wordsOf(error) }
    }
  }
  try {
    return await eachSignal('http', send)
  } finally {
    await client.destroy()
  }
}

async function eachSignal(
  protocol: Result['protocol'],
  send: (signal: SampleSignal) => Promise<Verdict>,
): Promise<Result[]> {
  const results: Result[] = []
  for (const signal of SAMPLE_SIGNALS) {
    const startMs = performance.now()
    const verdict = await send(signal)
    results.push({ protocol, signal, ...verdict, ms: performance.now() - startMs })
  }
  return results
}

/** What grpc-js says where it could not connect, without its wrapping. */
function plainDetails(details: string): string {
  const [, cause] = /Last error: (?:Error: )?(.+?)(?:\. Resolution note: .*)?$/s.exec(details) ?? []
  if (cause === undefined) return details
  const [, code] = /\b(E[A-Z]{3,})\b/.exec(cause) ?? []
  return code === undefined ? cause : wordsOf(Object.assign(new Error(cause), { code }))
}

function verdictOn(signal: SampleSignal, answer: Uint8Array): Verdict {
  try {
    const rejection = readRejection(signal, answer)
    if (rejection === undefined) return { ok: true, words: 'accepted' }
    const { rejected, message } = rejection
    if (rejected === 0) return { ok: true, words: `accepted with a warning: ${message}` }
    return { ok: false, words: `the collector did not take it: ${message || 'no reason given'}` }
  } catch {
    return { ok: false, words: 'the answer is not an OTLP response' }
  }
}

/** The message of the google.rpc.Status that an OTLP/HTTP error carries (field 2). */
function statusMessage(body: Uint8Array): string {
  try {
    for (const { number, bytes } of fieldsOf(body)) {
      if (number === 2 && bytes !== undefined) return Buffer.from(bytes).toString()
    }
  } catch {
    // Not a Status: some proxy's page.
  }
  return 'no reason given'
}
