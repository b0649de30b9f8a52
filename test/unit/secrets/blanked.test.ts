import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { blanked, endOfText } from '../../../src/secrets/blanked.ts'

describe('blanked', () => {
  it('leaves nothing of a secret, however it is written', () => {
    const secret = 's3cr3t+/=='
    const base64 = Buffer.from(secret).toString('base64')
    const text = `a ${secret} b ${encodeURIComponent(secret)} c ${base64} d`
    assert.equal(blanked(text, secret), 'a [token] b [token] c [token] d')
    const withLineEnd = Buffer.from(`${secret}\n`).toString('base64')
    assert.equal(blanked(`c ${withLineEnd} d`, secret), 'c [token] d')
    assert.equal(blanked('a', '', 'x'), 'a')
  })

  it('leaves nothing that looks like a token of anybody', () => {
    assert.equal(blanked('old: tg_a1_bcdefghijk.'), 'old: [token].')
  })

  it('makes one line without what steers a terminal', () => {
    assert.equal(blanked('\u001b[31mred\r\nnext\u202Eline\t\u0000.'), '[31mred next line .')
  })
})

describe('endOfText', () => {
  it('keeps the end', () => {
    assert.equal(endOfText('abcdef', 3), '…def')
    assert.equal(endOfText('abc', 3), 'abc')
  })
})
