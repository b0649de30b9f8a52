/** The answers of a scripted collector, good and bad, on both protocols. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import {
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Behaviour, Reached, Stage } from './collector-script.ts'

/** Answers over gRPC as told. */
export function answerGrpc(
  collector: Stage,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
): void {
  const behaviour = collector.next()
  const reached = record(collector, 'grpc', { headers, rawHeaders, path: headers[':path'] }, stream)
  stream.on('error', () => {})
  stream.on('close', () => {
    reached.resetCode = stream.rstCode
    collector.changed()
  })
  if (behaviour.kind === 'reset' && behaviour.when === 'at-once') {
    stream.close(behaviour.code ?? constants.NGHTTP2_INTERNAL_ERROR)
    return
  }
  if (behaviour.kind === 'goaway') {
    const { code = constants.NGHTTP2_NO_ERROR, takesThis } = behaviour
    stream.session?.goaway(code, Number(stream.id) - (takesThis ? 0 : 2))
    if (!takesThis) return
  }
  if (behaviour.kind === 'refuse' && behaviour.isEarly === true) {
    respondGrpc(stream, behaviour)
    return
  }
  if (behaviour.kind === 'slow') collector.paused(() => stream.resume())
  else stream.resume()
  stream.on('end', () => {
    if (!reached.isComplete) return
    if (behaviour.kind === 'die') stream.session?.destroy()
    else if (behaviour.kind === 'ok' && behaviour.delayMs !== undefined)
      setTimeout(() => respondGrpc(stream, behaviour), behaviour.delayMs)
    else if (behaviour.kind !== 'stall') respondGrpc(stream, behaviour)
  })
}

function respondGrpc(stream: ServerHttp2Stream, behaviour: Behaviour): void {
  const head = { ':status': 200, 'content-type': 'application/grpc' }
  if (stream.destroyed) return
  if (behaviour.kind === 'bare') {
    stream.respond({ ':status': behaviour.httpStatus, 'content-type': 'text/html' })
    stream.end(behaviour.body ?? '')
    return
  }
  if (behaviour.kind === 'refuse') {
    const { status = 14, message, detailsBin, trailers, isTrailersOnly = true } = behaviour
    const ending = {
      'grpc-status': String(status),
      ...(message === undefined ? {} : { 'grpc-message': message }),
      ...(detailsBin === undefined ? {} : { 'grpc-status-details-bin': detailsBin }),
      ...trailers,
    }
    if (isTrailersOnly) {
      stream.respond({ ...head, ...behaviour.headers, ...ending }, { endStream: true })
      return
    }
    stream.respond({ ...head, ...behaviour.headers }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers(ending))
    stream.end()
    return
  }
  if (behaviour.kind === 'reset') {
    stream.respond(head)
    stream.write(Buffer.from([0, 0, 0, 0, 9]), () =>
      stream.close(behaviour.code ?? constants.NGHTTP2_INTERNAL_ERROR),
    )
    return
  }
  const ok: Extract<Behaviour, { kind: 'ok' }> =
    behaviour.kind === 'ok' ? behaviour : { kind: 'ok' }
  const message = ok.message ?? Buffer.alloc(0)
  const prefix = Buffer.alloc(5)
  prefix[0] = ok.encoding === undefined ? 0 : 1
  prefix.writeUInt32BE(message.length, 1)
  const encoding = ok.encoding === undefined ? {} : { 'grpc-encoding': ok.encoding }
  stream.respond({ ...head, ...encoding, ...ok.headers }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', ...ok.trailers }))
  stream.end(Buffer.concat([prefix, message]))
}

/** Answers over HTTP as told. */
export function answerHttp(
  collector: Stage,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const behaviour = collector.next()
  const { headers, rawHeaders, url: path } = request
  const reached = record(collector, 'http', { headers, rawHeaders, path }, request)
  request.on('error', () => {})
  request.on('close', () => {
    if (!request.complete) reached.resetCode = constants.NGHTTP2_CANCEL
    collector.changed()
  })
  response.on('close', () => {
    if (!response.writableEnded) reached.resetCode = constants.NGHTTP2_CANCEL
    collector.changed()
  })
  if (behaviour.kind === 'reset' && behaviour.when === 'at-once') {
    request.socket.destroy()
    return
  }
  if (behaviour.kind === 'refuse' && behaviour.isEarly === true) {
    respondHttp(request, response, behaviour)
    return
  }
  if (behaviour.kind === 'slow') {
    request.pause()
    collector.paused(() => request.resume())
  } else request.resume()
  request.on('end', () => {
    if (behaviour.kind === 'die') request.socket.destroy()
    else if (behaviour.kind !== 'stall') respondHttp(request, response, behaviour)
  })
}

function respondHttp(request: IncomingMessage, response: ServerResponse, behaviour: Behaviour) {
  const type = { 'content-type': request.headers['content-type'] ?? 'application/x-protobuf' }
  if (behaviour.kind === 'reset') {
    response.writeHead(200, { ...type, 'content-length': 10 })
    response.write('half', () => request.socket.destroy())
  } else if (behaviour.kind === 'refuse') {
    response.writeHead(behaviour.httpStatus ?? 503, { ...type, ...plain(behaviour.headers) })
    response.end(behaviour.body)
  } else if (behaviour.kind === 'bare') {
    response.writeHead(behaviour.httpStatus, { 'content-type': 'text/html' })
    response.end(behaviour.body)
  } else {
    const ok: Extract<Behaviour, { kind: 'ok' }> =
      behaviour.kind === 'ok' ? behaviour : { kind: 'ok' }
    const encoding = ok.encoding === undefined ? {} : { 'content-encoding': ok.encoding }
    response.writeHead(200, { ...type, ...encoding, ...plain(ok.headers) })
    response.end(ok.message)
  }
}

function plain(headers: OutgoingHttpHeaders = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
}

function record(
  collector: Stage,
  protocol: Reached['protocol'],
  { path, ...fields }: Pick<Reached, 'headers' | 'rawHeaders'> & { path: string | undefined },
  body: ServerHttp2Stream | IncomingMessage,
): Reached {
  const chunks: Buffer[] = []
  const reached: Reached = {
    protocol,
    path: String(path),
    ...fields,
    bytes: () => Buffer.concat(chunks),
    isComplete: false,
    resetCode: undefined,
  }
  collector.reached.push(reached)
  body.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    collector.changed()
  })
  body.on('end', () => {
    // A request that was cancelled ends as well.
    reached.isComplete = !body.aborted
    collector.changed()
  })
  // A 'data' listener sets the stream flowing; the behaviour decides whether it may.
  body.pause()
  collector.changed()
  return reached
}
