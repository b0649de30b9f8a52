import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { digestOf } from '../../../src/stores/token-secret.ts'
import { parseTokenSet } from '../../../src/stores/token-set.ts'
import { TokenStore } from '../../../src/stores/tokens.ts'
import { arrival, ending, NOW, peer, UNLIMITED } from './token-fixtures.ts'

const TOKENS = 10_000
const MIB = 2 ** 20

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

function heapBytes(): number {
  collectGarbage()
  return process.memoryUsage().heapUsed
}

const headerOf = (index: number) => `Bearer secret-of-the-token-number-${index}`

/** Each with every date, used and refused, from an address and with a User-Agent of its own. */
function filledStore(): TokenStore {
  const store = new TokenStore({ defaultLimits: UNLIMITED })
  const tokens = Array.from({ length: TOKENS }, (_, index) => ({
    id: `token-${index}`,
    holder: `holder ${index % 5000}`,
    sha256: digestOf(headerOf(index).slice(7)),
    createdAt: '2026-01-01',
    notBefore: '2026-01-02',
    expiresAt: '2027-01-01',
    scopes: ['traces', 'metrics'],
    limits: { rate: '50/s' },
  }))
  store.swap(parseTokenSet(JSON.stringify({ tokens }), 'test'))
  for (let index = 0; index < TOKENS; index += 1) {
    const authorization = headerOf(index)
    const from = arrival({
      authorization,
      peer: {
        key: `10.0.${index >> 8}.${index & 255}`,
        address: `10.0.${index >> 8}.${index & 255}`,
      },
      userAgent: `OTel-OTLP-Exporter-Python/1.45.0 grpc-python/1.66.${index}`,
    })
    const token = store.verify(authorization, peer, NOW)
    if (typeof token === 'string') assert.fail(token)
    store.used(token, from, NOW)
    store.ended(from, ending({ token, bytesIn: 100 }), NOW)
    store.ended(from, ending({ outcome: 'rate_limited' }), NOW)
  }
  return store
}

test('ten thousand tokens, all in use and once refused, take less than 20 MiB', (t) => {
  // What is loaded or compiled on the way is nobody's token.
  filledStore()
  const before = heapBytes()
  const store = filledStore()
  const bytes = heapBytes() - before
  t.diagnostic(`${(bytes / MIB).toFixed(1)} MiB, ${Math.round(bytes / TOKENS)} bytes a token`)
  assert.ok(bytes < 20 * MIB, `${bytes} bytes`)
  assert.ok(bytes > TOKENS * 100, `${bytes} bytes: nothing was measured`)
  assert.equal(store.count, TOKENS)
})
