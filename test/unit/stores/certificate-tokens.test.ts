import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Arrival, ClientCertificate } from '../../../src/pipeline/arrival.ts'
import type { Ending } from '../../../src/pipeline/ports.ts'
import { digestOf } from '../../../src/stores/token-secret.ts'
import { parseTokenSet } from '../../../src/stores/token-set.ts'
import { TokenStore, type TokenStoreOptions } from '../../../src/stores/tokens.ts'

const NOW = Date.UTC(2026, 11, 1)
const HOUR_MS = 3_600_000
const PEER = { key: '203.0.113.7', address: '203.0.113.7' }
const LIMITS = { requests: undefined, bytes: undefined, inFlight: undefined }
const TOKEN = 'a-token-of-web-0123456789'
const CERTIFICATE: ClientCertificate = {
  names: [`sha256:${'ab'.repeat(32)}`, 'dns:seven.example.com', 'cn:seven'],
  notAfterMs: NOW + HOUR_MS,
  mark: '7 CN=Agents CA',
}
const BY_CN = { id: 'by-cn', holder: 'web', clientCertificate: { cn: 'seven' } }
const BY_SAN = { ...BY_CN, id: 'by-san', clientCertificate: { san: 'seven.example.com' } }
const BY_PRINT = { ...BY_CN, id: 'by-print', clientCertificate: { sha256: 'ab'.repeat(32) } }
const PLAIN = { id: 'plain', holder: 'web', sha256: digestOf(TOKEN) }

function storeOf(entries: readonly object[], options: Partial<TokenStoreOptions> = {}): TokenStore {
  const store = new TokenStore({ defaultLimits: LIMITS, ...options })
  store.swap(parseTokenSet(JSON.stringify({ tokens: entries }), 'set'))
  return store
}

/** The id of what is accepted, or why nothing is. */
function verdict(store: TokenStore, authorization?: string, certificate = CERTIFICATE, at = NOW) {
  const found = store.verify(authorization, PEER, at, certificate)
  return typeof found === 'string' ? found : found.id
}

suite('certificates in place of tokens', () => {
  test('the most exact name counts', () => {
    assert.equal(verdict(storeOf([BY_CN, BY_SAN, BY_PRINT])), 'by-print')
    assert.equal(verdict(storeOf([BY_CN, BY_SAN])), 'by-san')
    assert.equal(verdict(storeOf([BY_CN])), 'by-cn')
    assert.equal(verdict(storeOf([PLAIN])), 'certificate_unknown')
  })

  test('a token that is sent is judged instead, and no certificate changes that', () => {
    const store = storeOf([BY_CN, PLAIN])
    assert.equal(verdict(store, `Bearer ${TOKEN}`), 'plain')
    assert.equal(verdict(store, 'Bearer another-token-0123456789'), 'token_unknown')
    assert.equal(verdict(store, 'Basic YTpi'), 'by-cn')
    assert.equal(store.verify(undefined, PEER, NOW), 'token_missing')
  })

  test('no token can be the text that stands for a certificate', () => {
    const store = storeOf([BY_CN])
    for (const text of ['cn:seven', 'client certificate cn:seven'])
      assert.equal(store.verify(`Bearer ${text}`, PEER, NOW), 'token_unknown')
  })

  test('where a place was never read, an unknown one is nobody’s fault', () => {
    const store = new TokenStore({ defaultLimits: LIMITS })
    assert.equal(verdict(store), 'tokens_unavailable')
    const set = parseTokenSet(JSON.stringify({ tokens: [PLAIN] }), 'set')
    store.swap(set, { isComplete: false })
    assert.equal(verdict(store), 'tokens_unavailable')
  })

  test('the end of the certificate, its revocation, and the dates of the entry', () => {
    const revoked = new Set<string>()
    const store = storeOf([BY_CN], { isRevoked: ({ mark }) => revoked.has(mark) })
    const detail = (at: number) => store.detailOf(undefined, at, CERTIFICATE)
    assert.equal(detail(NOW), undefined)
    assert.equal(verdict(store, undefined, CERTIFICATE, NOW + HOUR_MS), 'token_expired')
    assert.match(detail(NOW + HOUR_MS) ?? '', /its client certificate expired on 2026-12-01T01:00/)
    revoked.add(CERTIFICATE.mark)
    assert.equal(verdict(store), 'token_expired')
    assert.equal(detail(NOW), 'its client certificate was revoked')
    const ended = storeOf([{ ...BY_CN, expiresAt: '2026-11-30' }])
    assert.equal(verdict(ended), 'token_expired')
    assert.match(ended.detailOf(undefined, NOW, CERTIFICATE) ?? '', /^it expired on 2026-11-30/)
  })

  test('a refusal is booked to the entry', () => {
    const store = storeOf([{ ...BY_CN, allowFrom: ['192.0.2.0/24'] }])
    assert.equal(verdict(store), 'scope_denied')
    const arrival: Arrival = {
      ...{ protocol: 'grpc', signal: 'traces', peer: PEER, authorization: undefined },
      ...{ certificate: CERTIFICATE, userAgent: undefined, deadlineMs: 0, flaw: undefined },
    }
    const ending: Ending = {
      outcome: 'scope_denied',
      ...{ token: undefined, refusal: undefined, cause: undefined },
      ...{ durationMs: 0, bytesIn: 0, bytesOut: 0 },
    }
    assert.equal(store.ended(arrival, ending, NOW)?.id, 'by-cn')
  })

  test('a certificate neither ends the grace of a token nor makes it wait', () => {
    const old = { ...PLAIN, expiresAt: '2026-11-30' }
    const store = storeOf([BY_CN, old], { graceMs: 100 * HOUR_MS })
    const used = store.verify(undefined, PEER, NOW, CERTIFICATE)
    assert.ok(typeof used === 'object')
    store.used(used, { ...({} as Arrival), signal: 'traces', protocol: 'grpc', peer: PEER }, NOW)
    assert.equal(verdict(store, `Bearer ${TOKEN}`), 'plain')
    const states = [...storeOf([BY_CN, PLAIN]).statuses(NOW)].map(({ state }) => state)
    assert.deepEqual(states, ['current', 'current'])
  })
})
