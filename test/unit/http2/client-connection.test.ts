import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { fieldBlock } from '../../../src/http2/field-encoder.ts'
import { CODE, FLAG, FRAME, SETTING } from '../../../src/http2/protocol.ts'
import type { Field } from './reference-hpack.ts'
import { Asked, ask, type ClientUnderTest, expectFullWindow } from './sessions.ts'
import { block, frame, type PeerStream, uint32 } from './strict-peer.ts'

const FIELDS = { ':method': 'POST', ':scheme': 'http', ':path': '/a', te: 'trailers' }
const OK: readonly Field[] = [
  [':status', '200'],
  ['content-type', 'application/grpc'],
]
const END_OK: readonly Field[] = [['grpc-status', '0']]

function request(test: ClientUnderTest): {
  reader: Asked
  stream: ReturnType<ClientUnderTest['connection']['request']>
  peerStream: PeerStream
} {
  const reader = new Asked()
  const stream = test.connection.request([fieldBlock(FIELDS)], reader)
  test.peer.read()
  const peerStream = test.peer.streams.get(stream.id)
  assert.ok(peerStream !== undefined)
  return { reader, stream, peerStream }
}

/** The connection's window as the peer sees it is whole, and no stream is left. */
function expectClean(test: ClientUnderTest): void {
  assert.equal(test.connection.streams.size, 0)
  const { stream, peerStream } = request(test)
  test.peer.sendHeaders(stream.id, OK, false)
  expectFullWindow(test.peer, () => test.peer.sendData(peerStream, Buffer.alloc(500), false))
  stream.reset(CODE.CANCEL)
  assert.equal(test.connection.streams.size, 0)
  assert.equal(test.connection.isClosed, false)
}

describe('ClientConnection: requests', () => {
  it('sends a request and reads its answer', () => {
    const test = ask()
    const { reader, stream, peerStream } = request(test)
    stream.end(Buffer.from('hel'), Buffer.alloc(0), Buffer.from('lo'))
    test.peer.read()
    assert.deepEqual(peerStream.sections, [Object.entries(FIELDS)])
    assert.equal(Buffer.concat(peerStream.data).toString(), 'hello')
    assert.equal(peerStream.data.length, 1, 'one frame for small pieces')
    assert.equal(peerStream.hasEngineEnded, true)
    test.peer.sendHeaders(1, OK, false)
    test.peer.sendData(peerStream, Buffer.from('answer'), false, 9)
    test.peer.sendHeaders(1, END_OK, true)
    assert.deepEqual({ ...reader.headers }, Object.fromEntries(OK))
    assert.equal(reader.received.toString(), 'answer')
    assert.deepEqual({ ...reader.trailers }, Object.fromEntries(END_OK))
    assert.deepEqual(reader.closes, [{ code: CODE.NO_ERROR, isUnseen: false }])
    expectClean(test)
  })

  it('ends a request without a body, and one whose end comes late', () => {
    const test = ask()
    const first = request(test)
    first.stream.end()
    const second = request(test)
    second.stream.write(Buffer.from('x'))
    test.peer.read()
    assert.equal(first.peerStream.hasEngineEnded, true)
    assert.equal(second.peerStream.hasEngineEnded, false)
    second.stream.end()
    test.peer.read()
    assert.equal(second.peerStream.hasEngineEnded, true)
  })

  it('sends the end on windows of nothing and less', () => {
    const test = ask()
    const { stream, peerStream } = request(test)
    stream.write(Buffer.alloc(65_535))
    test.peer.sendSettings([[SETTING.INITIAL_WINDOW_SIZE, 0]])
    assert.equal(stream.sendWindow, -65_535)
    stream.end()
    test.peer.read()
    assert.equal(peerStream.hasEngineEnded, true)
  })

  it('says that its encoder uses no table once the server allows less than the default', () => {
    const test = ask()
    test.peer.sendSettings([[SETTING.HEADER_TABLE_SIZE, 0]])
    for (let i = 0; i < 3; i += 1) {
      const { stream, peerStream } = request(test)
      assert.deepEqual(peerStream.sections, [Object.entries(FIELDS)])
      stream.reset(CODE.CANCEL)
    }
  })

  it('leaves no stream behind a section that is too long', () => {
    const test = ask()
    const long = fieldBlock({ ...FIELDS, 'x-long': 'x'.repeat(20_000) })
    assert.throws(() => test.connection.request([long], new Asked()), /too long/)
    expectClean(test)
  })

  it('does not write on a stream that another one has reset meanwhile', async () => {
    const test = ask()
    const first = request(test)
    const second = request(test)
    const third = request(test)
    // All three wait for the connection's window.
    first.stream.write(Buffer.alloc(65_535))
    assert.equal(first.stream.write(Buffer.alloc(70_000)), false)
    second.stream.end(Buffer.alloc(10))
    third.stream.end(Buffer.alloc(10))
    test.peer.read()
    await new Promise(setImmediate)
    first.reader.onDrain = () => {
      second.stream.reset(CODE.CANCEL)
      third.stream.close(CODE.CANCEL, false)
    }
    test.peer.grant(200_000, first.peerStream)
    test.peer.grant(200_000)
    assert.equal(second.peerStream.engineReset, CODE.CANCEL)
    assert.equal(second.peerStream.hasEngineEnded, false)
    assert.equal(third.peerStream.hasEngineEnded, false)
  })

  it('opens no more streams than the server allows', () => {
    const test = ask()
    test.peer.sendSettings([[SETTING.MAX_CONCURRENT_STREAMS, 2]])
    const first = request(test)
    request(test)
    assert.equal(test.connection.hasRoom, false)
    assert.throws(() => request(test), /no more streams/)
    first.stream.reset(CODE.CANCEL)
    assert.equal(test.connection.hasRoom, true)
    test.peer.sendSettings([[SETTING.MAX_CONCURRENT_STREAMS, 0]])
    assert.equal(test.connection.hasRoom, false)
  })

  it('leaves when the stream ids run out', () => {
    const test = ask({ firstStream: 2 ** 31 - 3 })
    const first = request(test)
    assert.equal(first.stream.id, 2 ** 31 - 3)
    const last = request(test)
    assert.equal(last.stream.id, 2 ** 31 - 1)
    assert.equal(test.connection.hasRoom, false)
    assert.deepEqual(test.leavings, ['leaving'])
    for (const { stream, reader } of [last, first]) {
      stream.end()
      test.peer.sendHeaders(stream.id, OK, true)
      assert.deepEqual(reader.closes, [{ code: CODE.NO_ERROR, isUnseen: false }])
    }
    assert.deepEqual(test.ends, [undefined])
  })
})

describe('ClientConnection: answers', () => {
  it('passes over informational answers', () => {
    const test = ask()
    const { reader, stream } = request(test)
    stream.end()
    test.peer.sendHeaders(1, [[':status', '100']], false)
    test.peer.sendHeaders(
      1,
      [
        [':status', '103'],
        ['link', '</a>'],
      ],
      false,
    )
    assert.equal(Object.keys(reader.headers ?? {}).length, 0)
    test.peer.sendHeaders(1, OK, true)
    assert.deepEqual({ ...reader.headers }, Object.fromEntries(OK))
    assert.deepEqual(reader.closes, [{ code: CODE.NO_ERROR, isUnseen: false }])
    expectClean(test)
  })

  const MALFORMED: Readonly<Record<string, (test: ClientUnderTest, stream: PeerStream) => void>> = {
    'no status': ({ peer }) => peer.sendHeaders(1, END_OK, true),
    'an informational end': ({ peer }) => peer.sendHeaders(1, [[':status', '100']], true),
    'status 101': ({ peer }) => peer.sendHeaders(1, [[':status', '101']], false),
    'a status that is none': ({ peer }) => peer.sendHeaders(1, [[':status', '20']], false),
    'a status twice': ({ peer }) => peer.sendHeaders(1, [...OK.slice(0, 1), ...OK], false),
    'a status behind a field': ({ peer }) =>
      peer.sendHeaders(1, [...END_OK, [':status', '200']], false),
    'another pseudo field': ({ peer }) => peer.sendHeaders(1, [...OK, [':path', '/']], false),
    'an upper-case name': ({ peer }) => peer.sendHeaders(1, [...OK, ['Server', 'x']], false),
    'a connection field': ({ peer }) => peer.sendHeaders(1, [...OK, ['connection', 'x']], false),
    'data before the header section': ({ peer }, stream) =>
      peer.sendData(stream, Buffer.alloc(10), false),
    'data after an informational answer only': ({ peer }, stream) => {
      peer.sendHeaders(1, [[':status', '100']], false)
      peer.sendData(stream, Buffer.alloc(10), false)
    },
    'trailers that do not end': ({ peer }) => {
      peer.sendHeaders(1, OK, false)
      peer.sendHeaders(1, END_OK, false)
    },
    'a second header section': ({ peer }) => {
      peer.sendHeaders(1, OK, false)
      peer.sendHeaders(1, OK, true)
    },
    'trailers with a bad value': ({ peer }) => {
      peer.sendHeaders(1, OK, false)
      peer.sendHeaders(1, [['a', 'b\r\nc']], true)
    },
    'a missing body': ({ peer }) => peer.sendHeaders(1, [...OK, ['content-length', '5']], true),
    'too short a body': ({ peer }, stream) => {
      peer.sendHeaders(1, [...OK, ['content-length', '5']], false)
      peer.sendData(stream, Buffer.alloc(4), true)
    },
    'too short a body before trailers': ({ peer }, stream) => {
      peer.sendHeaders(1, [...OK, ['content-length', '5']], false)
      peer.sendData(stream, Buffer.alloc(4), false)
      peer.sendHeaders(1, END_OK, true)
    },
    'too long a body': ({ peer }, stream) => {
      peer.sendHeaders(1, [...OK, ['content-length', '5']], false)
      peer.sendData(stream, Buffer.alloc(6), false, 2)
    },
    'too many fields': ({ peer }) =>
      peer.sendHeaders(1, [...OK, ...Array.from({ length: 64 }, (): Field => ['a', 'b'])], false),
    'a reset without an error': ({ peer }, stream) => {
      peer.sendHeaders(1, OK, false)
      peer.sendData(stream, Buffer.from('half'), false)
      peer.sendReset(stream, CODE.NO_ERROR)
    },
  }
  for (const [what, send] of Object.entries(MALFORMED)) {
    it(`takes for no answer: ${what}`, () => {
      const test = ask()
      const { reader, stream, peerStream } = request(test)
      stream.end()
      test.peer.read()
      send(test, peerStream)
      assert.deepEqual(reader.closes, [{ code: CODE.PROTOCOL_ERROR, isUnseen: false }])
      if (!peerStream.isPeerReset) {
        assert.equal(peerStream.engineReset, CODE.PROTOCOL_ERROR)
        // What crosses the reset is dropped.
        test.peer.sendData(peerStream, Buffer.alloc(300), false)
        test.peer.sendHeaders(1, END_OK, true)
      }
      expectClean(test)
    })
  }

  it('holds an answer to a content-length that is right', () => {
    const test = ask()
    const { reader, peerStream } = request(test)
    test.peer.sendHeaders(1, [...OK, ['content-length', '5']], false)
    test.peer.sendData(peerStream, Buffer.alloc(2), false)
    test.peer.sendData(peerStream, Buffer.alloc(3), true)
    assert.deepEqual(reader.closes, [{ code: CODE.NO_ERROR, isUnseen: false }])
    const second = request(test)
    test.peer.sendHeaders(
      3,
      [
        [':status', '304'],
        ['content-length', '5'],
      ],
      true,
    )
    assert.deepEqual(second.reader.closes, [{ code: CODE.NO_ERROR, isUnseen: false }])
  })

  it('stops sending when the answer is there before the end of the request', () => {
    const test = ask()
    const { reader, stream, peerStream } = request(test)
    stream.write(Buffer.alloc(100_000))
    test.peer.sendHeaders(1, [...OK, ...END_OK], true)
    assert.deepEqual(reader.closes, [{ code: CODE.NO_ERROR, isUnseen: false }])
    assert.equal(peerStream.engineReset, CODE.CANCEL)
    assert.equal(
      stream.write(Buffer.alloc(10)),
      true,
      'a writer that has not noticed does not wait',
    )
    stream.end()
    test.peer.grant(100_000)
    expectClean(test)
  })

  it('answers a reset with nothing, and says whether the server has seen the request', () => {
    for (const [code, isUnseen] of [
      [CODE.CANCEL, false],
      [CODE.REFUSED_STREAM, true],
      [CODE.ENHANCE_YOUR_CALM, false],
    ] as const) {
      const test = ask()
      const { reader, peerStream } = request(test)
      test.peer.sendReset(peerStream, code)
      assert.deepEqual(reader.closes, [{ code, isUnseen }])
      assert.equal(peerStream.engineReset, undefined)
      expectClean(test)
    }
  })

  it('calls nothing any more when the reader ends the stream in a call', () => {
    for (const at of ['onHeaders', 'onData', 'onTrailers'] as const) {
      const test = ask()
      const { reader, stream, peerStream } = request(test)
      stream.end()
      let calls = 0
      reader[at] = () => {
        calls += 1
        stream.reset(CODE.CANCEL)
      }
      test.peer.feed(
        Buffer.concat([
          frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, block(OK)),
          frame(FRAME.DATA, 0, 1, Buffer.alloc(300)),
          frame(FRAME.DATA, FLAG.PADDED, 1, [2, 1, 0, 0]),
          frame(FRAME.HEADERS, FLAG.END_HEADERS | FLAG.END_STREAM, 1, block(END_OK)),
        ]),
      )
      peerStream.window -= 304
      test.peer.window -= 304
      assert.equal(calls, 1)
      assert.deepEqual(reader.closes, [])
      expectClean(test)
    }
  })
})

describe('ClientConnection: the end', () => {
  const goaway = (lastStream: number, code = 0) =>
    frame(FRAME.GOAWAY, 0, 0, uint32(lastStream, code))

  it('closes what the server has not seen, and ends with what it has', () => {
    const test = ask()
    const first = request(test)
    const second = request(test)
    const third = request(test)
    test.peer.feed(goaway(2 ** 31 - 1))
    assert.deepEqual(test.leavings, ['leaving'])
    assert.equal(test.connection.hasRoom, false)
    test.peer.feed(goaway(3))
    assert.deepEqual(third.reader.closes, [{ code: CODE.REFUSED_STREAM, isUnseen: true }])
    test.peer.feed(goaway(5))
    assert.deepEqual(second.reader.closes, [])
    test.peer.sendHeaders(3, OK, true)
    assert.equal(test.connection.isClosed, false)
    test.peer.sendHeaders(1, OK, true)
    assert.deepEqual(first.reader.closes, [{ code: CODE.NO_ERROR, isUnseen: false }])
    assert.deepEqual(test.ends, [undefined])
    assert.deepEqual(test.leavings, ['leaving'])
  })

  it('ends at once where nothing is open', () => {
    const test = ask()
    test.peer.feed(goaway(0))
    assert.deepEqual(test.ends, [undefined])
    assert.equal(test.connection.streams.size, 0)
  })

  it('ends when its last request has, once asked to', () => {
    const test = ask()
    const { stream, reader } = request(test)
    test.connection.close()
    assert.equal(test.connection.isClosed, false)
    stream.end()
    test.peer.sendHeaders(1, OK, true)
    assert.equal(reader.closes.length, 1)
    assert.deepEqual(test.ends, [undefined])
  })

  it('closes every stream when the connection is lost', () => {
    const test = ask()
    const asked = [request(test), request(test)]
    asked[0]?.stream.write(Buffer.alloc(100_000))
    test.socket.emit('close')
    for (const { reader, stream } of asked) {
      assert.deepEqual(reader.closes, [{ code: undefined, isUnseen: false }])
      stream.write(Buffer.from('x'))
      stream.end()
      stream.reset(CODE.CANCEL)
    }
    assert.equal(test.connection.streams.size, 0)
    assert.deepEqual(test.ends, [undefined])
  })

  const BREACHES: Readonly<Record<string, readonly [bytes: Buffer, code: number]>> = {
    'a push': [frame(FRAME.PUSH_PROMISE, 4, 1, [0, 0, 0, 2]), CODE.PROTOCOL_ERROR],
    'an answer to nothing': [frame(FRAME.HEADERS, 5, 7, block(OK)), CODE.PROTOCOL_ERROR],
    'data of nothing': [frame(FRAME.DATA, 0, 2, [1]), CODE.PROTOCOL_ERROR],
    'a reset of nothing': [frame(FRAME.RST_STREAM, 0, 7, uint32(0)), CODE.PROTOCOL_ERROR],
    'a window too large': [
      frame(FRAME.WINDOW_UPDATE, 0, 0, uint32(2 ** 31 - 1)),
      CODE.FLOW_CONTROL_ERROR,
    ],
    'a window update of 0': [frame(FRAME.WINDOW_UPDATE, 0, 0, uint32(0)), CODE.PROTOCOL_ERROR],
    'a block that is none': [frame(FRAME.HEADERS, 4, 1, [0x80]), CODE.COMPRESSION_ERROR],
    'a frame too long': [frame(FRAME.PING, 0, 0, Buffer.alloc(16_385)), CODE.FRAME_SIZE_ERROR],
    'an odd ACK': [frame(FRAME.SETTINGS, FLAG.ACK, 0, [1]), CODE.FRAME_SIZE_ERROR],
  }
  for (const [what, [bytes, code]] of Object.entries(BREACHES)) {
    it(`ends with an error: ${what}`, () => {
      const test = ask()
      const { reader } = request(test)
      test.peer.feed(bytes)
      assert.deepEqual(test.peer.goaways, [{ lastStream: 0, code }])
      assert.deepEqual(reader.closes, [{ code: undefined, isUnseen: false }])
      assert.equal(test.ends.length, 1)
      assert.match(test.ends[0] ?? '', /broke HTTP\/2/)
    })
  }
})
