import type { Socket } from 'node:net'
import type { ClientCertificate, Peer } from '../pipeline/arrival.ts'
import type { Call, Headers } from './call.ts'
import { type ClientAddressSource, type IsTrusted, peerFromForwardedFor } from './client-address.ts'

/** Which public port a connection came in by. A metric label. */
export type Port = 'grpc' | 'http'

/** What is known of a connection: kept once, asked by each request on it. */
export interface Link {
  readonly port: Port
  /** The peer at connection level: the socket's, or the one a PROXY header named. */
  readonly peer: Peer
  /** The certificate that may stand in for a token of its requests. */
  readonly certificate?: ClientCertificate | undefined
}

const LINK = Symbol('link')

/**
 * Keeps the link on its socket. A property, since an entry of a `WeakMap` for each connection costs the
 * garbage collector several times as much.
 */
export function setLink(socket: Socket & { [LINK]?: Link }, link: Link): void {
  socket[LINK] = link
}

/** What was kept for this socket; undefined for nothing. */
export function linkOf(socket: Socket & { [LINK]?: Link }): Link | undefined {
  return socket[LINK]
}

/** Takes the calls of a connection. */
export type OnCall = (call: Call, link: Link) => void

/** Tells the peer of one request: the link's, or the one a trusted proxy's X-Forwarded-For names. */
export function createPeerOf(
  source: ClientAddressSource,
  isTrusted: IsTrusted,
): (headers: Headers, link: Link) => Peer {
  if (source !== 'x-forwarded-for') return (_headers, link) => link.peer
  return (headers, { peer }) =>
    isTrusted(peer.address) ? peerFromForwardedFor(headers, peer, isTrusted) : peer
}
