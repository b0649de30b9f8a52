/** An OTLP/HTTP proxy of Fastify, @fastify/rate-limit and undici. */
import { readFileSync } from 'node:fs'
import rateLimit from '@fastify/rate-limit'
import Fastify from 'fastify'
import { Pool } from 'undici'
import { Admission, MAX_PER_WINDOW, programSetting } from './admission.ts'

const { port, collectorPort, certPath, keyPath, tokens } = programSetting()
const admission = new Admission(tokens)

const MAX_BODY_BYTES = 64 * 1024 * 1024
const collector = new Pool(`http://127.0.0.1:${collectorPort}`, { connections: 64 })

const app = Fastify({
  https: { cert: readFileSync(certPath), key: readFileSync(keyPath), minVersion: 'TLSv1.3' },
  bodyLimit: MAX_BODY_BYTES,
  logger: false,
})
await app.register(rateLimit, { max: MAX_PER_WINDOW, timeWindow: '1 second' })
app.addContentTypeParser('application/x-protobuf', { parseAs: 'buffer' }, (_request, body, done) =>
  done(null, body),
)
app.addHook('onRequest', async (request, reply) => {
  if (admission.isKnown(request.headers.authorization)) return
  reply.code(401).header('www-authenticate', 'Bearer').send()
  return reply
})
app.post('/v1/traces', async (request, reply) => {
  const { authorization: _, host: _host, connection: _connection, ...headers } = request.headers
  const {
    statusCode,
    headers: answered,
    body,
  } = await collector.request({
    method: 'POST',
    path: '/v1/traces',
    headers,
    body: request.body as Buffer,
  })
  reply.code(statusCode)
  const type = answered['content-type']
  if (type !== undefined) reply.header('content-type', type)
  return reply.send(Buffer.from(await body.arrayBuffer()))
})
await app.listen({ port, host: '127.0.0.1', backlog: 1024 })
