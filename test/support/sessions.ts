/** Handshakes that leave a session, or come with one. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { connect, type SecureVersion } from 'node:tls'
import { Child } from './child.ts'
import type { Gateway } from './spawn-gateway.ts'
import { tool } from './tools.ts'

export const SESSION_VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const satisfies readonly SecureVersion[]

/** Where to, and the path of the CA to trust. */
export type Place = Pick<Gateway, 'http' | 'certificate'>

/** What openssl writes, so that it hangs up when it has the ticket, which in TLS 1.3 comes late. */
const QUESTION = 'GET /x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'

/** A handshake of Node's, and the session that it left; `more` is for a certificate of its own. */
export async function shakeHands(
  { http, certificate }: Place,
  version: SecureVersion,
  session?: Buffer,
  more: { readonly cert?: string; readonly key?: string } = {},
) {
  const { hostname: host, port } = new URL(`http://${http}`)
  const socket = connect({
    ...{ host, port: Number(port), servername: 'localhost', ca: readFileSync(certificate) },
    ...{ minVersion: version, maxVersion: version, ALPNProtocols: ['http/1.1'], ...more },
    ...(session !== undefined && { session }),
  })
  let given = session
  let isReused: boolean | undefined
  let answer = ''
  socket.on('session', (fresh: Buffer) => (given = fresh))
  socket.on('secureConnect', () => {
    isReused = socket.isSessionReused()
    socket.write(QUESTION)
  })
  socket.on('data', (bytes: Buffer) => (answer += bytes.toString('latin1')))
  // What it comes to shows in the answer.
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('close', resolve))
  return { isReused, given, isAnswered: answer.startsWith('HTTP/1.1 404') }
}

/** The same by openssl, which keeps its session in a file. */
export async function isReusedByOpenssl(
  { http, certificate }: Place,
  version: SecureVersion,
  ...more: readonly string[]
): Promise<boolean> {
  const only = version === 'TLSv1.2' ? '-tls1_2' : '-tls1_3'
  const client = new Child(
    tool('openssl'),
    [
      ...['s_client', '-connect', http, '-servername', 'localhost', only, '-alpn', 'http/1.1'],
      ...['-CAfile', certificate, '-verify_return_error', '-ign_eof', ...more],
    ],
    { input: QUESTION },
  )
  await client.exit
  const word = client.stdout.flatMap((line) => /^(New|Reused), TLSv1/.exec(line)?.[1] ?? [])[0]
  assert.ok(word !== undefined, client.output)
  return word === 'Reused'
}
