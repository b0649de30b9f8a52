import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Registry } from 'prom-client'
import { HandshakeNumbers, SUITES } from '../../../src/observe/handshakes.ts'
import { TLS_SETTINGS } from '../../../src/tls/settings.ts'

test('as many suites are counted as the ports speak', () => {
  assert.equal(Object.values(SUITES).flat().length, TLS_SETTINGS.ciphers.split(':').length)
})

test('what nobody knows is one series, however much of it there is', async () => {
  const registry = new Registry()
  const numbers = new HandshakeNumbers(registry)
  const before = (await registry.metrics()).split('\n').length
  for (let at = 0; at < 100; at += 1) {
    numbers.done({ version: `TLSv9.${at}`, suite: `TLS_${at}`, isResumed: at % 4 === 0 })
  }
  numbers.done({ version: 'TLSv1.3', suite: 'TLS_AES_128_GCM_SHA256', isResumed: true })
  const page = await registry.metrics()
  assert.equal(page.split('\n').length, before)
  assert.match(page, /version="other",suite="other",resumed="no"\} 75$/m)
  assert.match(page, /version="other",suite="other",resumed="yes"\} 25$/m)
  assert.match(page, /version="TLSv1.3",suite="TLS_AES_128_GCM_SHA256",resumed="yes"\} 1$/m)
})
