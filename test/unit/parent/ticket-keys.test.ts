/** The key for session tickets that the parent hands to its gateways. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Order, readOrder } from '../../../src/parent/messages.ts'
import { TicketKeys } from '../../../src/parent/ticket-keys.ts'

const HOUR_MS = 3_600_000

/** Takes orders, and keeps the keys among them. */
class Gateway {
  readonly keys: string[] = []

  order(order: Order): void {
    // As it comes out of the channel.
    const read = readOrder(JSON.parse(JSON.stringify(order)))
    if (read?.kind === 'ticket-key') this.keys.push(read.key)
  }
}

test('gateways that follow each other get the same key, and another every eight hours', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const keys = new TicketKeys()
  const [first, second] = [new Gateway(), new Gateway()]
  keys.join(first)
  t.mock.timers.tick(8 * HOUR_MS - 1)
  keys.join(second)
  assert.equal(Buffer.from(first.keys[0] ?? '', 'base64').length, 48)
  assert.deepEqual(second.keys, first.keys)
  t.mock.timers.tick(1)
  assert.equal(first.keys.length, 2)
  assert.notEqual(first.keys[1], first.keys[0])
  assert.deepEqual(second.keys, first.keys)
  keys.leave(first)
  t.mock.timers.tick(8 * HOUR_MS)
  assert.equal(first.keys.length, 2)
  assert.equal(new Set(second.keys).size, 3)
})
