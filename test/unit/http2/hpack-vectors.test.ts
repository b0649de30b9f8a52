/** The examples of RFC 7541 Appendix C, octet by octet, and what the table holds after each. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { HpackDecoder } from '../../../src/http2/hpack-decoder.ts'
import { decode, ReferenceTable } from './reference-hpack.ts'

interface Vector {
  readonly section: string
  readonly tableBytes: number
  readonly blocks: readonly (readonly [hex: string, fields: string, table: string])[]
}

const REQUESTS = [
  [
    ':method: GET|:scheme: http|:path: /|:authority: www.example.com',
    ':authority: www.example.com',
  ],
  [
    ':method: GET|:scheme: http|:path: /|:authority: www.example.com|cache-control: no-cache',
    'cache-control: no-cache|:authority: www.example.com',
  ],
  [
    ':method: GET|:scheme: https|:path: /index.html|:authority: www.example.com|custom-key: custom-value',
    'custom-key: custom-value|cache-control: no-cache|:authority: www.example.com',
  ],
] as const

const FIRST = 'Mon, 21 Oct 2013 20:13:21 GMT'
const SECOND = 'Mon, 21 Oct 2013 20:13:22 GMT'
const HOME = 'location: https://www.example.com'
const COOKIE = 'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'
const RESPONSES = [
  [
    `:status: 302|cache-control: private|date: ${FIRST}|${HOME}`,
    `${HOME}|date: ${FIRST}|cache-control: private|:status: 302`,
  ],
  [
    `:status: 307|cache-control: private|date: ${FIRST}|${HOME}`,
    `:status: 307|${HOME}|date: ${FIRST}|cache-control: private`,
  ],
  [
    `:status: 200|cache-control: private|date: ${SECOND}|${HOME}|content-encoding: gzip|${COOKIE}`,
    `${COOKIE}|content-encoding: gzip|date: ${SECOND}`,
  ],
] as const

const VECTORS: readonly Vector[] = [
  {
    section: 'C.2.1',
    tableBytes: 4096,
    blocks: [
      [
        '400a637573746f6d2d6b65790d637573746f6d2d686561646572',
        'custom-key: custom-header',
        'custom-key: custom-header',
      ],
    ],
  },
  {
    section: 'C.2.2',
    tableBytes: 4096,
    blocks: [['040c2f73616d706c652f70617468', ':path: /sample/path', '']],
  },
  {
    section: 'C.2.3',
    tableBytes: 4096,
    blocks: [['100870617373776f726406736563726574', 'password: secret', '']],
  },
  { section: 'C.2.4', tableBytes: 4096, blocks: [['82', ':method: GET', '']] },
  {
    section: 'C.3',
    tableBytes: 4096,
    blocks: [
      ['828684410f7777772e6578616d706c652e636f6d', ...REQUESTS[0]],
      ['828684be58086e6f2d6361636865', ...REQUESTS[1]],
      ['828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565', ...REQUESTS[2]],
    ],
  },
  {
    section: 'C.4',
    tableBytes: 4096,
    blocks: [
      ['828684418cf1e3c2e5f23a6ba0ab90f4ff', ...REQUESTS[0]],
      ['828684be5886a8eb10649cbf', ...REQUESTS[1]],
      ['828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf', ...REQUESTS[2]],
    ],
  },
  {
    section: 'C.5',
    tableBytes: 256,
    blocks: [
      [
        '4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e17' +
          '68747470733a2f2f7777772e6578616d706c652e636f6d',
        ...RESPONSES[0],
      ],
      ['4803333037c1c0bf', ...RESPONSES[1]],
      [
        '88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d' +
          '4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b207665' +
          '7273696f6e3d31',
        ...RESPONSES[2],
      ],
    ],
  },
  {
    section: 'C.6',
    tableBytes: 256,
    blocks: [
      [
        '488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97' +
          'c8e9ae82ae43d3',
        ...RESPONSES[0],
      ],
      ['4883640effc1c0bf', ...RESPONSES[1]],
      [
        '88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd' +
          '5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007',
        ...RESPONSES[2],
      ],
    ],
  },
]

const textOf = (list: readonly string[]): string =>
  list.map((each, at) => (at % 2 === 0 ? `${at === 0 ? '' : '|'}${each}: ` : each)).join('')

describe('RFC 7541 Appendix C', () => {
  for (const { section, tableBytes, blocks } of VECTORS) {
    it(section, () => {
      const decoder = new HpackDecoder({
        maxTableBytes: tableBytes,
        maxListBytes: 4096,
        maxFields: 50,
      })
      const reference = new ReferenceTable()
      reference.maxBytes = tableBytes
      for (const [hex, fields, table] of blocks) {
        const bytes = Buffer.from(hex, 'hex')
        const decoded = decoder.decode(bytes, 0, bytes.length)
        assert.equal(decoded.isTooLarge, false)
        assert.equal(textOf(decoded.fields), fields)
        assert.equal(
          decode(reference, bytes)
            .map((field) => field.join(': '))
            .join('|'),
          fields,
        )
        assert.equal(reference.entries.map((field) => field.join(': ')).join('|'), table)
        // What the engine's table holds shows in what its indexes mean.
        const indexes = reference.entries.map((_, at) => 0x80 | (62 + at))
        const shown = decoder.decode(Buffer.from(indexes), 0, indexes.length)
        assert.equal(textOf(shown.fields), table)
        const beyond = Buffer.from([0x80 | (62 + indexes.length)])
        assert.throws(() => decoder.decode(beyond, 0, 1), { name: 'ConnectionError', code: 9 })
      }
    })
  }
})
