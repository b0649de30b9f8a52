/** Header fields: which travel on to the collector, and small readings that both edges share. */
import type { Peer } from '../pipeline/arrival.ts'
import type { Parcel } from '../pipeline/parcel.ts'
import type { Headers } from './call.ts'

/** The first value of a field; undefined where it is absent. */
export function first(headers: Headers, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' || value === undefined ? value : value[0]
}

/** Sets of fields remembered, so that the same set is the same object and is encoded once. */
const MAX_KNOWN = 1000

type Forwarded = Parcel['headers']

const KEPT = Symbol('forwarded fields')

/** Fields that every collector may want: who sent it and which trace it belongs to. */
const ALWAYS = ['user-agent', 'traceparent', 'tracestate', 'baggage']

/**
 * The request's fields that go to the collector: the few above, what the operator listed, and
 * X-Forwarded-For with the client's address. An allow-list, so that no credential and no
 * hop-by-hop field can slip through (RFC 9110 section 7.6.1).
 */
export function createHeaderFilter(
  extra: readonly string[],
): (headers: Headers, peer: Peer) => Forwarded {
  const names = [...new Set([...ALWAYS, ...extra])]
  const known = new Map<string, Forwarded>()
  const keep = (headers: Headers, peer: Peer): Forwarded => {
    let key = peer.address
    const kept: Record<string, string | string[]> = { 'x-forwarded-for': peer.address }
    for (const name of names) {
      const value = headers[name]
      if (value === undefined) continue
      if (typeof value === 'string') {
        kept[name] = value
        key += `\n${name}:${value}`
      } else {
        // Not joined: base64 in a `-bin` field does not bear the space, and some split at no comma.
        kept[name] = [...value]
        for (const each of value) key += `\n${name}:${each}`
      }
    }
    // A trace's own fields never come again.
    if (kept.traceparent !== undefined) return kept
    const same = known.get(key)
    if (same !== undefined) return same
    if (known.size >= MAX_KNOWN) known.clear()
    known.set(key, kept)
    return kept
  }
  return (headers, peer) => {
    // Connections give equal header sections as one object.
    const slot = headers as { [KEPT]?: { address: string; fields: Forwarded } }
    if (slot[KEPT]?.address !== peer.address) {
      slot[KEPT] = { address: peer.address, fields: keep(headers, peer) }
    }
    return slot[KEPT].fields
  }
}

/** The media type of a Content-Type value, lower-case and without parameters (RFC 9110 section 8.3.1). */
export function mediaType(contentType: string | undefined): string {
  if (contentType === undefined) return ''
  const end = contentType.indexOf(';')
  return (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase()
}

/** Content codings the gateway can bound without changing the body. */
export const ENCODINGS = ['gzip', 'zstd', 'deflate', 'snappy'] as const
export type Encoding = (typeof ENCODINGS)[number]

/** Reads a content coding: undefined for none, the coding, or `unsupported`. */
export function parseEncoding(value: string | undefined): Encoding | undefined | 'unsupported' {
  const name = value?.trim().toLowerCase()
  if (name === undefined || name === '' || name === 'identity') return undefined
  return ENCODINGS.find((encoding) => encoding === name) ?? 'unsupported'
}

/** A Content-Length value; undefined where it is absent. The HTTP engines have checked that it is a number. */
export function contentLength(headers: Headers): number | undefined {
  const value = first(headers, 'content-length')
  return value === undefined || !/^\d{1,15}$/.test(value) ? undefined : Number(value)
}
