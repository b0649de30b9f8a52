/** A gRPC proxy on node:http2 at both ends: the streams of one are piped to those of the other. */
import { readFileSync } from 'node:fs'
import {
  connect,
  constants,
  createSecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2'
import { Admission, programSetting } from './admission.ts'

const { port, collectorPort, certPath, keyPath, tokens } = programSetting()
const admission = new Admission(tokens)

/** Room for a large message on each stream, and for all streams on a connection. */
const STREAM_WINDOW_BYTES = 1024 * 1024
const CONNECTION_WINDOW_BYTES = 64 * 1024 * 1024
const SESSION_MEMORY_MB = 1000
const REFUSED = { ':status': 200, 'content-type': 'application/grpc' }

const collector = connect(`http://127.0.0.1:${collectorPort}`, {
  maxSessionMemory: SESSION_MEMORY_MB,
  settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES },
})
collector.on('connect', () => collector.setLocalWindowSize(CONNECTION_WINDOW_BYTES))

const server = createSecureServer({
  cert: readFileSync(certPath),
  key: readFileSync(keyPath),
  minVersion: 'TLSv1.3',
  maxSessionMemory: SESSION_MEMORY_MB,
  settings: { initialWindowSize: STREAM_WINDOW_BYTES, maxConcurrentStreams: 1000 },
})
server.on('session', (session) => {
  session.setLocalWindowSize(CONNECTION_WINDOW_BYTES)
  session.on('error', () => session.destroy())
})
server.on('stream', (stream, headers) => {
  stream.on('error', () => stream.close(constants.NGHTTP2_CANCEL))
  const address = stream.session?.socket.remoteAddress ?? ''
  if (!admission.count(address)) refuse(stream, '8', 'too many requests')
  else if (!admission.isKnown(headers.authorization)) refuse(stream, '16', 'unauthenticated')
  else forward(stream, headers)
})
server.listen(port, '127.0.0.1', 1024)

/** Trailers-Only. */
function refuse(stream: ServerHttp2Stream, status: string, message: string): void {
  stream.respond(
    { ...REFUSED, 'grpc-status': status, 'grpc-message': message },
    { endStream: true },
  )
  stream.resume()
}

function forward(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  const { authorization: _, ':authority': _authority, ':scheme': _scheme, ...others } = headers
  const sent = collector.request(others)
  let trailers: IncomingHttpHeaders = {}
  sent.on('response', (answer) => {
    if (stream.destroyed) return
    stream.respond(answer, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers(trailers))
    sent.pipe(stream)
  })
  sent.on('trailers', (fields) => {
    trailers = fields
  })
  sent.on('error', () => stream.close(constants.NGHTTP2_INTERNAL_ERROR))
  stream.on('aborted', () => sent.close(constants.NGHTTP2_CANCEL))
  stream.pipe(sent)
}
