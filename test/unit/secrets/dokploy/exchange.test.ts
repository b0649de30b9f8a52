import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { DokployExchange } from '../../../../src/secrets/dokploy/exchange.ts'
import { said } from '../../../../src/secrets/dokploy/problem.ts'

const exchange = (url: string, apiKey = 'key') => new DokployExchange({ url, apiKey })

describe('DokployExchange', () => {
  it('knows what travels in the clear', () => {
    for (const [url, isInTheClear] of [
      ['https://dokploy.example', false],
      ['http://127.0.0.1:3000', false],
      ['http://localhost:3000', false],
      ['http://[::1]:3000', false],
      ['http://dokploy:3000', true],
      ['http://localhost.example', true],
      ['http://127.example', true],
    ] as const) {
      assert.equal(exchange(url).isInTheClear, isInTheClear, url)
    }
  })

  it('refuses addresses and keys that are none, and shows neither', () => {
    for (const url of ['', 'dokploy', 'ftp://x', 'https://user:pa55@x']) {
      assert.throws(() => exchange(url), { message: /is not a URL without user and password$/ })
    }
    for (const key of ['', 'a b', 'a\r\nx-other: 1', 'ä']) {
      assert.throws(() => exchange('https://x', key), { message: /^the API key .* no key holds$/ })
    }
  })
})

describe('said', () => {
  it('leaves words, and nothing of the environment', () => {
    const env = 'A=secret-one\nB="secret two"\nC=\'se"cret\nthree\'\nD=no'
    const message = 'Input "secret-one", secret two and se"cret\nthree of key-1 is no good'
    assert.equal(
      said(message, 'key-1', [env]),
      'Input "[token]", [token] and [token] of [token] is no good',
    )
  })

  it('leaves nothing of a part of the environment either', () => {
    const env = 'PEM="line-one\nline-two\nline-three"\r\njunk-line\r\n'
    assert.equal(said('no: line-two, junk-line', 'key', [env]), 'no: [token], [token]')
  })

  it('ends where a database query begins, and is short', () => {
    assert.equal(said('Oh: Failed query: update x params: y', 'key', []), 'Oh:')
    assert.equal(said('x'.repeat(1000), 'key', []).length, 301)
  })
})
