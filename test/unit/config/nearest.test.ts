import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nearest } from '../../../src/config/nearest.ts'

const WORDS = ['hold', 'rate', 'burst', 'max-body']

test('finds the word that was meant', () => {
  assert.equal(nearest('hodl', WORDS), 'hold')
  assert.equal(nearest('brust', WORDS), 'burst')
  assert.equal(nearest('maxbody', WORDS), 'max-body')
})

test('does not guess wildly', () => {
  assert.equal(nearest('port', WORDS), undefined)
  assert.equal(nearest('', WORDS), undefined)
})
