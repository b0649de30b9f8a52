import assert from 'node:assert/strict'
import { test } from 'node:test'
import { takeGivenSockets, variablesFor } from '../../../src/parent/given-sockets.ts'

test('nothing given', () => {
  assert.deepEqual(takeGivenSockets({ PATH: '/bin' }, 7), { sockets: undefined })
})

test('the variables are gone afterwards, and nothing else is', () => {
  const env = { PATH: '/bin', ...variablesFor([], 7), LISTEN_PIDFDID: '12' }
  assert.deepEqual(takeGivenSockets(env, 7), { sockets: {} })
  assert.deepEqual(env, { PATH: '/bin' })
})

test('sockets for another process are left alone, and the variables with them are gone', () => {
  const env = { ...variablesFor(['grpc'], 6) }
  const { sockets, notice } = takeGivenSockets(env, 7)
  assert.equal(sockets, undefined)
  assert.match(String(notice), /LISTEN_PID is 6, and this is process 7\. They are left alone/)
  assert.deepEqual(env, {})
})

test('LISTEN_PID is missing', () => {
  const { notice } = takeGivenSockets({ LISTEN_FDS: '1', LISTEN_FDNAMES: 'grpc' }, 7)
  assert.match(String(notice), /LISTEN_PID is missing/)
})

test('the variables for a child', () => {
  assert.deepEqual(variablesFor(['grpc', 'admin'], 7), {
    LISTEN_FDS: '2',
    LISTEN_PID: '7',
    LISTEN_FDNAMES: 'grpc:admin',
  })
})
