import assert from 'node:assert/strict'
import { test } from 'node:test'
import { paced } from '../../../src/admin/paced.ts'

test('others have their turn between two pieces', async () => {
  let turns = 0
  let isOver = false
  const count = () => {
    turns += 1
    if (!isOver) setImmediate(count)
  }
  setImmediate(count)
  const turnsAt: number[] = []
  function* pieces() {
    for (let piece = 0; piece < 5; piece += 1) {
      turnsAt.push(turns)
      yield `${piece} `
    }
  }
  let text = ''
  for await (const piece of paced(pieces())) text += String(piece)
  isOver = true
  assert.equal(text, '0 1 2 3 4 ')
  assert.equal(new Set(turnsAt).size, 5, `turns at each piece: ${turnsAt}`)
})

test('a piece is made only when there is room for it', async () => {
  let made = 0
  function* pieces() {
    for (;;) {
      made += 1
      yield 'x'.repeat(65_536)
    }
  }
  const stream = paced(pieces())
  for await (const _ of stream) if (made > 3) break
  const { promise, resolve } = Promise.withResolvers<void>()
  setImmediate(resolve)
  await promise
  assert.ok(made < 10, `${made} pieces`)
  assert.ok(stream.destroyed)
})
