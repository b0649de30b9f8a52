import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HiddenClientsNotices, hiddenInWords } from '../../../src/observe/hidden-clients.ts'
import { keptLog } from './fixtures.ts'

const ADDRESS = '10.0.0.2'

test('the words name the address, what it means, and both ways out', () => {
  for (const by of ['gateway', 'one_address'] as const) {
    const words = hiddenInWords({ by, address: ADDRESS, clients: 3 })
    for (const part of [ADDRESS, '3 different clients', 'limits per address and bans', 'host mode'])
      assert.ok(words.includes(part), `${by}: ${part}`)
    assert.match(words, /TOLLGATE_CLIENT_ADDRESS and TOLLGATE_TRUSTED_PROXIES$/)
  }
  const untrusted = hiddenInWords({ by: 'untrusted_proxy', address: ADDRESS, clients: 1 })
  assert.match(untrusted, /10\.0\.0\.2, which is not in TOLLGATE_TRUSTED_PROXIES/)
})

test('each way is told once', () => {
  const { log, lines } = keptLog()
  const notices = new HiddenClientsNotices(log)
  for (let at = 0; at < 3; at += 1) {
    notices.hidden({ by: 'gateway', address: ADDRESS, clients: 2 + at })
    notices.hidden({ by: 'one_address', address: ADDRESS, clients: 3 })
  }
  assert.deepEqual(
    lines.map(({ level, event, fields }) => [level, event, fields.by]),
    [
      ['warn', 'client_addresses_hidden', 'gateway'],
      ['warn', 'client_addresses_hidden', 'one_address'],
    ],
  )
})
