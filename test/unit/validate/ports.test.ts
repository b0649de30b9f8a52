/** Open ports, read from reports that nmap 7.93 made. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgePorts, openPortsOf } from '../../../docker/validate/checks/ports.ts'

const HEAD = '<nmaprun scanner="nmap"><host><status state="up" reason="user-set"/><ports>'
const TAIL =
  '</ports></host><runstats><finished time="1796028640" summary="Nmap done" elapsed="21.12" exit="success"/><hosts up="1" down="0" total="1"/></runstats></nmaprun>'
const CLOSED =
  '<port protocol="tcp" portid="9464"><state state="closed" reason="reset" reason_ttl="64"/><service name="unknown" method="table" conf="3"/></port>'
const FILTERED =
  '<port protocol="tcp" portid="3000"><state state="filtered" reason="no-response" reason_ttl="0"/><service name="ppp" method="table" conf="3"/></port>'
const OURS = [4317, 4318].map(
  (port) =>
    `<port protocol="tcp" portid="${port}"><state state="open" reason="syn-ack" reason_ttl="64"/><service name="unknown" servicefp="SF-Port" tunnel="ssl" method="table" conf="3"/></port>`,
)
const PROMETHEUS =
  '<port protocol="tcp" portid="9090"><state state="open" reason="syn-ack" reason_ttl="64"/><service name="http" product="Golang net/http server" method="probed" conf="10"/></port>'

const judge = (...ports: string[]) =>
  judgePorts(openPortsOf(HEAD + ports.join('\n') + TAIL), [4317, 4318], 'IPv4', 'nmap')

test('the public ports open and all others closed or filtered is good', () => {
  const row = judge(CLOSED, ...OURS, FILTERED)
  assert.equal(row.status, 'pass')
  assert.equal(row.figure, 'open: 4317 (TLS unknown), 4318 (TLS unknown)')
})

test('a port of the inside that is open fails, and is named with what answers there', () => {
  const row = judge(...OURS, PROMETHEUS, CLOSED)
  assert.equal(row.status, 'fail')
  assert.equal(row.figure, 'also open: 9090 (Golang net/http server)')
})

test('a public port that is closed fails', () => {
  const row = judge(OURS[0] ?? '', CLOSED)
  assert.equal(row.status, 'fail')
  assert.equal(row.figure, 'closed: 4318')
})

test('a scan that found no host, or was cut off, is no proof of closed ports', () => {
  assert.equal(openPortsOf(HEAD + OURS.join('') + TAIL.replace('up="1"', 'up="0"')), undefined)
  assert.equal(openPortsOf(HEAD + OURS.join('')), undefined)
  assert.equal(judgePorts(undefined, [4317], 'IPv6', 'nmap').status, 'fail')
})
