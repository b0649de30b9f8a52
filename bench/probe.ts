/**
 * Proof, before anything is measured, that a proxy does the work it is measured by: that it lets a
 * good token through to the responder and a wrong one not, with the right answers, over TLS 1.3.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2'
import { request as requestHttps } from 'node:https'
import type { TLSSocket } from 'node:tls'
import type { Backend } from './backend.ts'
import type { Payload } from './payloads.ts'
import type { Protocol, Setting } from './peers/contestant.ts'
import { GRPC_PATH, HTTP_PATH } from './wire.ts'

/** A token that is not let through, as long as the right one. */
export function wrongToken(token: string): string {
  return `${token.slice(0, -1)}${token.endsWith('x') ? 'y' : 'x'}`
}

/** Throws where a proxy does not do what the measurement rests on. */
export async function probe(subject: Subject, payloads: Iterable<Payload>): Promise<void> {
  const { protocols } = subject
  for (const payload of payloads) {
    if (protocols.includes('grpc')) await probeGrpc(subject, payload)
    if (protocols.includes('http')) await probeHttp(subject, payload)
    if (payload.body.length < 1000) await probeRefusals(subject, payload)
  }
}

interface Subject {
  readonly setting: Setting
  readonly protocols: readonly Protocol[]
  /** Messages must arrive byte for byte. */
  readonly isPassThrough: boolean
  readonly backend: Backend
}

async function probeGrpc(subject: Subject, payload: Payload): Promise<void> {
  const { setting, backend } = subject
  const before = await backend.counts()
  const good = await callGrpc(setting, payload, setting.tokens[0])
  assert.equal(good.tlsVersion, 'TLSv1.3')
  assert.equal(good.headers[':status'], 200)
  assert.match(String(good.headers['content-type']), /^application\/grpc/)
  assert.equal(good.trailers['grpc-status'], '0', 'grpc-status of a good call')
  assert.ok(good.body.length >= 5, 'an answer with a message')
  const between = await backend.counts()
  assert.equal(between.grpcRequests - before.grpcRequests, 1, 'a good call arrives once')
  if (!subject.isPassThrough) return
  assert.equal(between.grpcBytes - before.grpcBytes, payload.grpcBody.length, 'and whole')
}

async function probeHttp(subject: Subject, payload: Payload): Promise<void> {
  const { setting, backend } = subject
  const before = await backend.counts()
  assert.equal(await callHttp(setting, payload, setting.tokens[0]), 200)
  const between = await backend.counts()
  const arrived = between.httpRequests - before.httpRequests
  const arrivedByGrpc = between.grpcRequests - before.grpcRequests
  assert.equal(arrived + arrivedByGrpc, 1, 'a good request arrives once')
  if (!subject.isPassThrough) return
  assert.equal(
    between.httpBytes - before.httpBytes + between.grpcBytes - before.grpcBytes,
    payload.body.length + 5 * arrivedByGrpc,
    'and whole',
  )
}

/** With a small message alone: a refusal before the body has come breaks off the sending of a large one. */
async function probeRefusals(subject: Subject, payload: Payload): Promise<void> {
  const { setting, backend, protocols } = subject
  const before = await backend.counts()
  for (const token of [wrongToken(setting.tokens[0]), undefined]) {
    if (protocols.includes('http')) assert.equal(await callHttp(setting, payload, token), 401)
    if (!protocols.includes('grpc')) continue
    const call = await callGrpc(setting, payload, token)
    const status = call.trailers['grpc-status'] ?? call.headers['grpc-status']
    assert.ok(
      status === '16' || call.headers[':status'] === 401,
      `a call with a wrong token is answered with grpc-status ${status}`,
    )
  }
  assert.deepEqual(await backend.counts(), before, 'nothing that was refused arrives')
}

interface GrpcCall {
  readonly headers: IncomingHttpHeaders & { readonly ':status'?: number | undefined }
  readonly trailers: IncomingHttpHeaders
  readonly body: Buffer
  readonly tlsVersion: string | null
}

function callGrpc(
  { grpcPort, certificate }: Setting,
  payload: Payload,
  token: string | undefined,
): Promise<GrpcCall> {
  return new Promise((resolve, reject) => {
    const session = connectHttp2(`https://127.0.0.1:${grpcPort}`, {
      ca: readFileSync(certificate.certPath),
      servername: 'localhost',
    })
    session.on('error', reject)
    const stream = session.request({
      ':method': 'POST',
      ':path': GRPC_PATH,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...(payload.encoding === undefined ? {} : { 'grpc-encoding': payload.encoding }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    })
    const chunks: Buffer[] = []
    let headers: GrpcCall['headers'] = {}
    let trailers: IncomingHttpHeaders = {}
    let tlsVersion: string | null = null
    session.on('connect', (_session, socket) => {
      tlsVersion = (socket as TLSSocket).getProtocol()
    })
    stream.setTimeout(5000, () => stream.destroy(new Error('no answer within 5 s')))
    stream.on('response', (fields) => {
      headers = fields
    })
    stream.on('trailers', (fields) => {
      trailers = fields
    })
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('error', reject)
    stream.on('close', () => {
      session.destroy()
      resolve({ headers, trailers, body: Buffer.concat(chunks), tlsVersion })
    })
    stream.end(payload.grpcBody)
  })
}

function callHttp(
  { httpPort, certificate }: Setting,
  payload: Payload,
  token: string | undefined,
): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const request = requestHttps(
      {
        host: '127.0.0.1',
        port: httpPort,
        path: HTTP_PATH,
        method: 'POST',
        ca: readFileSync(certificate.certPath),
        servername: 'localhost',
        minVersion: 'TLSv1.3',
        agent: false,
        timeout: 5000,
        headers: {
          'content-type': 'application/x-protobuf',
          ...(payload.encoding === undefined ? {} : { 'content-encoding': payload.encoding }),
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
      },
      (response) => {
        response.resume()
        response.on('end', () => resolve(response.statusCode))
      },
    )
    request.on('timeout', () => request.destroy(new Error('no answer within 5 s')))
    request.on('error', reject)
    request.end(payload.body)
  })
}
