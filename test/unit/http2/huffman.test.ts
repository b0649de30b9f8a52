import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { huffmanDecode } from '../../../src/http2/huffman.ts'
import * as reference from './reference-hpack.ts'

const decode = (bytes: Uint8Array) => huffmanDecode(bytes, 0, bytes.length)
const octets = fc
  .uint8Array({ maxLength: 60 })
  .map((bytes) => Buffer.from(bytes).toString('latin1'))

describe('huffmanDecode', () => {
  it('knows the code of every octet', () => {
    for (let octet = 0; octet < 256; octet += 1) {
      const text = String.fromCharCode(octet)
      assert.equal(decode(reference.huffmanEncode(text)), text, `octet ${octet}`)
      const thrice = text.repeat(3)
      assert.equal(decode(reference.huffmanEncode(thrice)), thrice, `octet ${octet} thrice`)
    }
  })

  it('decodes what the reference encodes', () => {
    fc.assert(
      fc.property(octets, (text) => {
        assert.equal(decode(reference.huffmanEncode(text)), text)
      }),
    )
  })

  it('agrees with the reference about any octets', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => {
        assert.equal(decode(bytes), reference.huffmanDecode(bytes))
      }),
      { numRuns: 2000 },
    )
  })

  it('reads only between start and end', () => {
    const code = reference.huffmanEncode('www.example.com')
    const bytes = Buffer.concat([Buffer.from([0xff, 0xff]), code, Buffer.from([0, 0])])
    assert.equal(huffmanDecode(bytes, 2, 2 + code.length), 'www.example.com')
    assert.equal(huffmanDecode(bytes, 3, 3), '')
  })

  it('accepts up to seven bits of padding, all ones', () => {
    // Codes of 5 to 8 bits, one behind the other, leave every number of bits from 0 to 7.
    const bits = new Map<number, string>()
    for (const text of ['0', '00', '000', '0000', '00000', '000000', '0000000', '00000000']) {
      const code = [...text].map((each) => reference.bitsOf(each.charCodeAt(0))).join('')
      const padding = (8 - (code.length % 8)) % 8
      bits.set(padding, text)
      assert.equal(decode(reference.packBits(code)), text)
      // Zeros are the beginning of a code, and from the fifth on the code of another 0.
      if (padding > 0) assert.notEqual(decode(reference.packBits(code, '0')), text)
      assert.equal(decode(reference.packBits(`${code}${'1'.repeat(padding + 8)}`)), undefined)
    }
    assert.deepEqual([...bits.keys()].sort(), [0, 1, 2, 3, 4, 5, 6, 7])
  })

  it('refuses EOS wherever it stands', () => {
    const eos = reference.bitsOf(reference.EOS)
    const a = reference.bitsOf(97)
    for (const bits of [eos, `${a}${eos}`, `${eos}${a}`, `${a}${a}${a}${eos}${a}`]) {
      assert.equal(decode(reference.packBits(bits)), undefined)
    }
  })

  it('refuses a code that is cut off', () => {
    const tab = reference.bitsOf(9)
    for (let kept = 8; kept < tab.length; kept += 8) {
      assert.equal(decode(reference.packBits(tab.slice(0, kept), '')), undefined)
    }
  })
})
