/** What siege 4.0.7 printed when it guessed tokens. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgeAgent, judgeAttack, readAttack } from '../../../docker/validate/checks/brute-force.ts'

const answer = (status: number) =>
  `HTTP/1.1 ${status}     0.02 secs:      60 bytes ==> POST https://127.0.0.2:17369/v1/traces`
const CLOSED =
  '[\u001b[1;33merror\u001b[0m] Failed to make an SSL connection: 5: Connection reset by peer'
const times = (count: number, line: string) => Array.from({ length: count }, () => line)
const statuses = (lines: readonly string[]) =>
  judgeAttack(readAttack(lines.join('\n')), 5, '').map(({ status }) => status)

test('five guesses and a closed door are good, and so are two more that were under way', () => {
  assert.deepEqual(statuses([...times(5, answer(401)), ...times(9, CLOSED)]), ['pass', 'pass'])
  assert.deepEqual(statuses([...times(7, answer(401)), answer(403), ...times(9, CLOSED)]), [
    'pass',
    'pass',
  ])
})

test('the time to the ban is that of the answers before it', () => {
  const { guessedSeconds } = readAttack([CLOSED, ...times(5, answer(401))].join('\n'))
  assert.equal(guessedSeconds.toFixed(2), '0.10')
})

test('guessing without an end fails', () => {
  const rows = judgeAttack(readAttack(times(40, answer(401)).join('\n')), 5, '')
  assert.deepEqual(
    rows.map(({ status }) => status),
    ['pass', 'fail'],
  )
  assert.equal(rows[1]?.figure, '40 tries were answered, 0 refused')
})

test('a ban that comes too late, ends in the middle, or refuses hardly anybody, fails', () => {
  const late = [...times(9, answer(401)), ...times(9, CLOSED)]
  assert.deepEqual(statuses(late), ['pass', 'fail'])
  const ended = [...times(5, answer(401)), ...times(5, CLOSED), ...times(5, answer(401))]
  assert.deepEqual(statuses(ended), ['pass', 'fail'])
  assert.deepEqual(statuses([...times(5, answer(401)), ...times(4, CLOSED)]), ['pass', 'fail'])
})

test('a wrong token that is taken fails, and so does an attack that never came about', () => {
  assert.deepEqual(statuses(times(40, answer(200))), ['fail', 'fail'])
  assert.deepEqual(statuses(['The server is now under siege...']), ['fail', 'fail'])
  assert.deepEqual(statuses(times(40, CLOSED)), ['fail', 'pass'])
})

test('the honest agent may lose nothing, and must have sent enough to tell', () => {
  assert.equal(judgeAgent(25, 25, '').status, 'pass')
  assert.equal(judgeAgent(25, 24, 'gRPC 7').status, 'fail')
  assert.match(judgeAgent(25, 24, 'gRPC 7').figure, /24 of 25 taken: gRPC 7/)
  assert.equal(judgeAgent(3, 3, '').status, 'fail')
})
