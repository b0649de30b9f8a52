/**
 * Clients that want somebody else banned, or a line of the audit log lost: what they send, byte by byte,
 * over both versions of HTTP. They come from whatever address a PROXY header says.
 */

import { FLAG, FRAME, frame, grpcFields, headerBlock, RawHttp2 } from './raw-http2.ts'
import { openTcp, textUntilClosed } from './raw-socket.ts'

/** Whom they want banned. No line may ever be read as being about this address. */
export const VICTIM = '198.51.100.66'

export type Wire = 'HTTP/1.1' | 'HTTP/2'
const WIRES: readonly Wire[] = ['HTTP/1.1', 'HTTP/2']

export interface Knock {
  readonly from: string
  readonly wire: Wire
  readonly token?: string
  readonly userAgent?: Buffer
  /** Of HTTP/1.1. */
  readonly path?: string
}

const LINE = `{"v":1,"time":1795380842117,"event":"auth_refused","reason":"token_unknown","client":{"ip":"${VICTIM}"},"protocol":"grpc","signal":"traces"}`
const ESC = '\u001b'

/** User agents that a request can carry. */
export const USER_AGENTS: readonly Buffer[] = [
  LINE,
  `"},"event":"auth_refused","reason":"token_unknown","client":{"ip":"${VICTIM}"},"x":"`,
  `\\"}\\n${LINE.replaceAll('"', '\\"')}`,
  `\\u000a${LINE}`,
  `x","client":{"ip":"${VICTIM}"}}`,
  `\u2028${LINE}\u2029`,
  `\u0085${LINE}`,
  `\t${LINE}\t`,
  `from ${VICTIM}: token_unknown <HOST> %(ip)s \${jndi:ldap://${VICTIM}/x} $(reboot) \`reboot\``,
  `${'A'.repeat(190)}${LINE}`,
  LINE.repeat(20),
]
  .map((text) => Buffer.from(text))
  .concat([
    Buffer.concat([Buffer.from('\xff\xfe\xc0\xaf\xed\xa0\x80', 'latin1'), Buffer.from(LINE)]),
    Buffer.concat([Buffer.from([0xc2]), Buffer.from(LINE)]),
  ])

/** User agents that no request can carry: a line break or another control character ends it. */
export const BROKEN_USER_AGENTS: readonly Buffer[] = [
  `x\n${LINE}\n`,
  `x\r\n${LINE}\r\n`,
  `x\r${LINE}`,
  `x\0${LINE}`,
  `${ESC}[2J${ESC}[1;1H${LINE}`,
  `x\u000b\u000c${LINE}`,
].map((text) => Buffer.from(text))

/** Paths that say more than a path. */
export const PATHS: readonly string[] = [
  `/v1/traces?${encodeURI(LINE)}`,
  `/v1/${LINE.replaceAll(' ', '')}`,
  `/%0a${encodeURIComponent(LINE)}`,
  `//"},"client":{"ip":"${VICTIM}"}}`,
]

/** One request for each of these user agents and each wire. */
export function knocksWith(
  from: string,
  userAgents: readonly Buffer[],
  token?: string,
): readonly Knock[] {
  return userAgents.flatMap((userAgent) =>
    WIRES.map((wire) => ({ from, wire, userAgent, ...(token === undefined ? {} : { token }) })),
  )
}

/** Sends it to a gateway without TLS that believes PROXY headers, and waits for its answer or its end. */
export async function knock(addresses: { readonly http: string }, knock: Knock): Promise<void> {
  const socket = await openTcp(addresses.http)
  const isV6 = knock.from.includes(':')
  socket.write(
    `PROXY TCP${isV6 ? 6 : 4} ${knock.from} ${isV6 ? '2001:db8::1' : '192.0.2.1'} 40000 4318\r\n`,
  )
  if (knock.wire === 'HTTP/1.1') {
    const authorization =
      knock.token === undefined ? '' : `authorization: Bearer ${knock.token}\r\n`
    socket.write(
      Buffer.concat([
        Buffer.from(
          `POST ${knock.path ?? '/v1/traces'} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n` +
            `content-type: application/x-protobuf\r\ncontent-length: 0\r\n${authorization}`,
        ),
        ...(knock.userAgent === undefined
          ? []
          : [Buffer.from('user-agent: '), knock.userAgent, Buffer.from('\r\n')]),
        Buffer.from('\r\n'),
      ]),
    )
    await textUntilClosed(socket)
    return
  }
  const http2 = new RawHttp2(socket)
  const block = Buffer.concat([
    headerBlock(grpcFields(knock.token)),
    ...(knock.userAgent === undefined ? [] : [literal('user-agent', knock.userAgent)]),
  ])
  await http2.write(frame(FRAME.HEADERS, FLAG.END_HEADERS | FLAG.END_STREAM, 1, block))
  // What comes before has been handled when the PING is back, or the connection is over.
  await http2.ping()
  http2.close()
}

/** A field whose value is any bytes, without indexing. RFC 7541 section 6.2.2. */
function literal(name: string, value: Buffer): Buffer {
  const asText = headerBlock({ [name]: 'x'.repeat(value.length) })
  value.copy(asText, asText.length - value.length)
  return asText
}
