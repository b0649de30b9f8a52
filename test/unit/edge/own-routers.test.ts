import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nextHops, nextHops6, ownRouters } from '../../../src/edge/own-routers.ts'

// As `docker run` on a network with IPv6 shows them.
const ROUTE = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010012AC	0003	0	0	0	00000000	0	0	0
eth0	000012AC	00000000	0001	0	0	0	0000FFFF	0	0	0
`
const ROUTE6 = `fd0012ab000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd0012ab000000000000000000000001 00000400 00000001 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
`

test('next hops are read as addresses are written elsewhere', () => {
  assert.deepEqual(nextHops(ROUTE), ['172.18.0.1'])
  assert.deepEqual(nextHops6(ROUTE6), ['fd00:12ab::1'])
})

test('a table that is missing or strange has none', () => {
  for (const text of ['', '\n\n', 'Iface\nx\ty\tz']) {
    assert.deepEqual(nextHops(text), [])
    assert.deepEqual(nextHops6(text), [])
  }
})

test('this machine can be asked', async () => {
  assert.ok((await ownRouters()) instanceof Set)
})
