/** Handshakes as OpenSSL 3.0.19 told of them, good ones and bad ones. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  judgeDaysLeft,
  judgeHandshake,
  judgeOldVersion,
  readHandshake,
} from '../../../docker/validate/checks/handshake.ts'

const GOOD = `depth=1 CN = Test CA
verify return:1
CONNECTED(00000003)
 0 s:CN = localhost
   v:NotBefore: Nov 30 08:49:32 2026 GMT; NotAfter: Dec  2 08:49:32 2026 GMT
Verification: OK
Verified peername: localhost
---
New, TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256
ALPN protocol: h2
Early data was not sent
Verify return code: 0 (ok)
`
const REFUSED = `40C7A573067F0000:error:0A00042E:SSL routines:ssl3_read_bytes:tlsv1 alert protocol version:../ssl/record/rec_layer_s3.c:1601:SSL alert number 70
CONNECTED(00000003)
no peer certificate available
Verification: OK
New, (NONE), Cipher is (NONE)
No ALPN negotiated
    Protocol  : TLSv1.1
    Verify return code: 0 (ok)
`
const SELF_SIGNED = `depth=0 CN = localhost
verify error:num=18:self-signed certificate
CONNECTED(00000003)
New, (NONE), Cipher is (NONE)
    Verify return code: 18 (self-signed certificate)
`
const OLD = `CONNECTED(00000003)
New, TLSv1.0, Cipher is ECDHE-ECDSA-AES256-SHA
    Protocol  : TLSv1.1
    Verify return code: 0 (ok)
`
const CLIENT_CANNOT = `4017:error:0A0000BF:SSL routines:tls_setup_handshake:no protocols available:../ssl/statem/statem_lib.c:104:
CONNECTED(00000003)
New, (NONE), Cipher is (NONE)
    Verify return code: 0 (ok)
`

test('a chain and a name that verify, with the protocol that was asked for, pass', () => {
  const row = judgeHandshake(readHandshake(GOOD), 'h2', 4317, '')
  assert.equal(row.status, 'pass')
  assert.equal(row.figure, 'TLSv1.3, h2')
})

test('another protocol, none, or a chain that does not verify fails with the reason', () => {
  assert.equal(judgeHandshake(readHandshake(GOOD), 'http/1.1', 4317, '').status, 'fail')
  const without = GOOD.replace('ALPN protocol: h2', 'No ALPN negotiated')
  assert.equal(judgeHandshake(readHandshake(without), 'h2', 4317, '').status, 'fail')
  const own = judgeHandshake(readHandshake(SELF_SIGNED), 'h2', 4317, '')
  assert.equal(own.status, 'fail')
  assert.match(own.figure, /self-signed certificate/)
})

test('a refused handshake counts as none though openssl says "0 (ok)" of it', () => {
  const row = judgeHandshake(readHandshake(REFUSED), 'h2', 4317, '')
  assert.equal(row.status, 'fail')
  assert.match(row.figure, /protocol version/)
})

test('an old version is good when refused, bad when spoken, and open when it was not asked for', () => {
  assert.equal(judgeOldVersion(readHandshake(REFUSED), 'TLS 1.1', '').status, 'pass')
  assert.equal(judgeOldVersion(readHandshake(OLD), 'TLS 1.1', '').status, 'fail')
  assert.equal(judgeOldVersion(readHandshake(CLIENT_CANNOT), 'TLS 1.1', '').status, 'skip')
})

test('days that are left are counted to the end of the certificate', () => {
  const end = Date.parse('2026-12-02T08:49:32Z')
  const seen = readHandshake(GOOD)
  assert.equal(seen.notAfterMs, end)
  const left = (days: number, least: number) =>
    judgeDaysLeft(seen, end - days * 86_400_000, least, '')
  assert.equal(left(14, 14).status, 'pass')
  assert.equal(left(13.9, 14).status, 'fail')
  assert.equal(left(13.9, 14).figure, '13 days left')
  assert.equal(left(-1, 1).status, 'fail')
  assert.equal(judgeDaysLeft(readHandshake(REFUSED), end, 1, '').status, 'fail')
})
