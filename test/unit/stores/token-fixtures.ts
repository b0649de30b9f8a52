/** Token stores for tests: sets whose secrets are known, and requests that carry them. */
import assert from 'node:assert/strict'
import type { Arrival } from '../../../src/pipeline/arrival.ts'
import type { Ending } from '../../../src/pipeline/ports.ts'
import { digestOf } from '../../../src/stores/token-secret.ts'
import { parseTokenSet } from '../../../src/stores/token-set.ts'
import { TokenStore, type TokenStoreOptions } from '../../../src/stores/tokens.ts'

export const NOW = Date.UTC(2026, 5, 1)
export const peer = { key: '203.0.113.7', address: '203.0.113.7' }
export const UNLIMITED = { requests: undefined, bytes: undefined, inFlight: undefined }

/** A set of tokens whose secrets are their ids, repeated to a length that is allowed. */
export function setOf(...tokens: { id: string; secret?: string; [field: string]: unknown }[]) {
  const entries = tokens.map(({ secret, ...token }) => ({
    holder: `holder of ${token.id}`,
    sha256: digestOf(secret ?? `${token.id}-secret-secret`),
    ...token,
  }))
  return parseTokenSet(JSON.stringify({ tokens: entries }), 'test')
}

/** A store with these tokens in force. */
export function storeOf(...tokens: Parameters<typeof setOf>): TokenStore {
  const store = new TokenStore({ defaultLimits: UNLIMITED })
  assert.equal(store.swap(setOf(...tokens)), tokens.length)
  return store
}

/** The Authorization header with that token. */
export const bearer = (id: string) => `Bearer ${id}-secret-secret`

/** The token that is accepted. */
export function tokenOf(store: TokenStore, id: string) {
  const token = store.verify(bearer(id), peer, NOW)
  if (typeof token === 'string') assert.fail(token)
  return token
}

/** A request of Python's SDK over gRPC. */
export const arrival = (more: Partial<Arrival> = {}): Arrival => ({
  protocol: 'grpc',
  signal: 'traces',
  peer,
  authorization: undefined,
  userAgent: 'OTel-OTLP-Exporter-Python/1.40.0',
  deadlineMs: Number.POSITIVE_INFINITY,
  flaw: undefined,
  ...more,
})

/** An admitted request's end, unless changed. */
export function ending(changes: Partial<Ending> = {}): Ending {
  return {
    outcome: 'accepted',
    token: undefined,
    refusal: undefined,
    durationMs: 1,
    bytesIn: 0,
    bytesOut: 0,
    cause: undefined,
    ...changes,
  }
}

/** A store that lets late tokens live, and what it told of them. */
export function gracious(graceMs: number) {
  const told: Parameters<NonNullable<TokenStoreOptions['onGrace']>>[0][] = []
  const store = new TokenStore({
    defaultLimits: UNLIMITED,
    graceMs,
    onGrace: (late) => told.push(late),
  })
  return { store, told }
}
