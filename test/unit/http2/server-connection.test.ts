import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { CODE, FLAG, FRAME, SETTING } from '../../../src/http2/protocol.ts'
import type { Field } from './reference-hpack.ts'
import {
  expectFullWindow,
  open,
  REQUEST,
  type ServerUnderTest,
  serve,
  WINDOWS,
} from './sessions.ts'
import { block, frame, uint32 } from './strict-peer.ts'

const END_OK = { 'grpc-status': '0' }

/** The connection's window as the peer sees it is whole, and no stream is left. */
function expectClean(test: ServerUnderTest, id = 1001): void {
  assert.equal(test.connection.streams.size, 0)
  const { stream, request } = open(test, id, false)
  request.stream.start(request)
  expectFullWindow(test.peer, () => test.peer.sendData(stream, Buffer.alloc(500), false))
  test.peer.sendReset(stream, CODE.CANCEL)
  assert.equal(test.connection.streams.size, 0)
  assert.equal(test.connection.isClosed, false)
}

describe('ServerConnection: answers', () => {
  it('sends headers, body and trailers', () => {
    const test = serve()
    const { stream, request } = open(test, 1, true)
    request.stream.answer(200, { 'content-type': 'application/grpc' }, Buffer.from('hello'), END_OK)
    test.peer.read()
    assert.deepEqual(stream.sections, [
      [
        [':status', '200'],
        ['content-type', 'application/grpc'],
      ],
      [['grpc-status', '0']],
    ])
    assert.equal(Buffer.concat(stream.data).toString(), 'hello')
    assert.equal(stream.hasEngineEnded, true)
    assert.equal(stream.engineReset, undefined)
    expectClean(test)
  })

  it('sends each value of a field by itself, and a long section in CONTINUATION frames', () => {
    const test = serve()
    const { stream, request } = open(test, 1, true)
    const long = 'x'.repeat(50_000)
    request.stream.answer(418, { 'set-cookie': ['a', 'b'], 'x-long': long }, undefined, {
      'x-end': long,
    })
    test.peer.read()
    assert.deepEqual(stream.sections, [
      [
        [':status', '418'],
        ['set-cookie', 'a'],
        ['set-cookie', 'b'],
        ['x-long', long],
      ],
      [['x-end', long]],
    ])
    assert.equal(stream.hasEngineEnded, true)
  })

  it('stays open to be answered after a field that cannot be sent', () => {
    const test = serve()
    const { stream, request } = open(test, 1, true)
    assert.throws(() => request.stream.answer(200, { 'x-bad': 'a\nb' }), TypeError)
    assert.throws(() => request.stream.answer(200, {}, undefined, { 'x-bad': 'a\nb' }), TypeError)
    assert.equal(request.stream.isAnswered, false)
    request.stream.answer(500, {})
    test.peer.read()
    assert.deepEqual(stream.sections, [[[':status', '500']]])
    expectClean(test)
  })

  it('says that its encoder uses no table once the client allows less than the default', () => {
    // RFC 7541 section 4.2, RFC 9113 section 4.3.1: the strict peer asserts on the next block.
    for (const bytes of [0, 100, 4095]) {
      const test = serve()
      for (const id of [1, 3]) {
        test.peer.sendSettings([[SETTING.HEADER_TABLE_SIZE, bytes]])
        const { stream, request } = open(test, id, true)
        request.stream.answer(200, {}, Buffer.from('x'), END_OK)
        test.peer.read()
        assert.deepEqual(stream.sections[0], [[':status', '200']])
        assert.deepEqual(stream.sections[1], [['grpc-status', '0']])
      }
    }
  })

  it('tells a client to stop sending what is not read any more, without an error', async () => {
    const test = serve()
    const { stream, request } = open(test, 1, false)
    test.peer.sendData(stream, Buffer.alloc(1000), false)
    request.stream.answer(200, END_OK)
    test.peer.read()
    assert.equal(stream.hasEngineEnded, true)
    // curl 7 loses an answer that it reads together with the reset.
    assert.equal(stream.engineReset, undefined)
    await turn()
    test.peer.read()
    assert.equal(stream.engineReset, CODE.NO_ERROR)
    // What crossed the reset is no mistake: section 5.1.
    test.peer.sendData(stream, Buffer.alloc(2000), false)
    test.peer.sendData(stream, Buffer.alloc(100), true, 20)
    expectClean(test)
    assert.deepEqual(test.misuses, [])
  })

  it('has nothing to stop where the request comes to its end right behind the answer', async () => {
    const test = serve()
    const { stream, request } = open(test, 1, false)
    request.stream.answer(401, {})
    test.peer.sendData(stream, Buffer.alloc(1000), true)
    await turn()
    test.peer.read()
    assert.equal(stream.hasEngineEnded, true)
    assert.equal(stream.engineReset, undefined)
    expectClean(test)
  })

  it('tells a client to stop behind an answer that the connection ends with', async () => {
    const endings = [
      ({ request }: ReturnType<typeof open>) => request.stream.answer(403, { connection: 'close' }),
      ({ request }: ReturnType<typeof open>, { connection }: ServerUnderTest) => {
        connection.leave()
        request.stream.answer(403, {})
      },
    ]
    for (const end of endings) {
      const test = serve()
      const opened = open(test, 1, false)
      end(opened, test)
      test.peer.read()
      assert.equal(opened.stream.hasEngineEnded, true)
      // curl 7 loses an answer that it reads together with the reset, or with a GOAWAY.
      assert.equal(opened.stream.engineReset, undefined)
      assert.deepEqual(test.peer.goaways, [])
      await turn()
      test.peer.read()
      assert.equal(opened.stream.engineReset, CODE.NO_ERROR)
      assert.deepEqual(test.peer.goaways, [{ lastStream: 1, code: 0 }])
      assert.equal(test.connection.isClosed, true)
    }
  })
})

describe('ServerConnection: request bodies', () => {
  it('asks for a body that waits to be asked for, and not for one that came or is refused', () => {
    // RFC 9110 section 10.1.1.
    const expect = [['expect', '100-Continue']] as const
    const asked = serve()
    const { stream, request } = open(asked, 1, false, expect)
    asked.peer.read()
    assert.deepEqual(stream.sections, [])
    request.stream.start(request)
    asked.peer.read()
    assert.deepEqual(stream.sections, [[[':status', '100']]])
    asked.peer.sendData(stream, Buffer.from('body'), true)
    assert.equal(request.received.toString(), 'body')
    request.stream.answer(200, {})
    asked.peer.read()
    assert.deepEqual(stream.sections, [[[':status', '100']], [[':status', '200']]])
    expectClean(asked)

    const refused = serve()
    const second = open(refused, 1, false, expect)
    second.request.stream.answer(401, {})
    refused.peer.read()
    assert.deepEqual(second.stream.sections, [[[':status', '401']]])

    const came = serve()
    const third = open(came, 1, false, expect)
    came.peer.sendData(third.stream, Buffer.from('body'), false)
    third.request.stream.start(third.request)
    came.peer.read()
    assert.deepEqual(third.stream.sections, [])
  })

  it('delivers what comes before and after the start, pausing where asked', () => {
    const test = serve()
    const { stream, request } = open(test, 1, false)
    test.peer.sendData(stream, Buffer.from('one'), false)
    assert.equal(request.received.toString(), '')
    request.stream.start(request)
    assert.equal(request.received.toString(), 'one')
    request.stream.pause()
    test.peer.sendData(stream, Buffer.from('two'), false, 7)
    test.peer.sendData(stream, Buffer.from('three'), true)
    assert.equal(request.received.toString(), 'one')
    assert.equal(request.ends, 0)
    request.stream.resume()
    assert.equal(request.received.toString(), 'onetwothree')
    assert.equal(request.ends, 1)
    request.stream.answer(200, END_OK)
    test.peer.read()
    expectClean(test)
  })

  it('gives a paused client no more than one window', () => {
    const test = serve()
    const { stream } = open(test, 1, false)
    while (test.peer.room(stream) > 0) {
      test.peer.sendData(stream, Buffer.alloc(Math.min(1000, test.peer.room(stream))), false)
    }
    assert.equal(stream.data.length, 0)
    assert.equal(test.peer.window, WINDOWS.windowBytes - WINDOWS.streamWindowBytes)
    test.peer.sendReset(stream, CODE.CANCEL)
    expectClean(test)
  })

  for (const how of ['answer', 'abandon', 'reset'] as const) {
    it(`ends cleanly where the reader of a queued body ends it itself (${how})`, () => {
      const test = serve()
      const { stream, request } = open(test, 1, false)
      for (let i = 0; i < 5; i += 1) test.peer.sendData(stream, Buffer.alloc(3000, i), i === 4)
      let count = 0
      request.onChunk = () => {
        count += 1
        if (count !== 2) return
        if (how === 'answer') request.stream.answer(200, END_OK)
        else if (how === 'abandon') request.stream.abandon()
        else test.peer.sendReset(stream, CODE.CANCEL)
      }
      request.stream.start(request)
      test.peer.read()
      assert.equal(count, 2, 'no chunk follows the end')
      assert.equal(request.ends, 0, 'half a body is not a whole one')
      expectClean(test)
    })
  }

  it('ends cleanly where the reader answers inside a frame that has not arrived whole', () => {
    const test = serve()
    const { stream, request } = open(test, 1, false)
    request.stream.start(request)
    request.onChunk = () => request.stream.answer(200, END_OK)
    const bytes = frame(FRAME.DATA, 0, 1, Buffer.alloc(5000))
    stream.window -= 5000
    test.peer.window -= 5000
    for (let at = 0; at < bytes.length; at += 1000) test.peer.feed(bytes.subarray(at, at + 1000))
    assert.equal(request.received.length, 991)
    expectClean(test)
  })

  it('tells a reader that starts after the client has gone', () => {
    const test = serve()
    const { stream, request } = open(test, 1, false)
    test.peer.sendData(stream, Buffer.alloc(10), false)
    test.peer.sendReset(stream, CODE.CANCEL)
    assert.equal(request.gone, 1)
    request.stream.start(request)
    assert.deepEqual([request.ends, request.failures, request.chunks.length], [0, 1, 0])
    let calls = 0
    request.stream.onGone(() => {
      calls += 1
    })
    assert.equal(calls, 1)
    expectClean(test)
  })

  it('holds a body to its content-length', () => {
    for (const [announced, sent, isRight] of [
      ['0', [], true],
      ['5', [5], true],
      ['5', [2, 3], true],
      ['5', [2, 4], false],
      ['5', [6], false],
      ['5', [2], false],
      ['5', [], false],
      ['0', [1], false],
    ] as const) {
      for (const byTrailers of [false, true]) {
        const test = serve()
        const { stream, request } = open(test, 1, false, [['content-length', announced]])
        request.stream.start(request)
        for (const bytes of sent) test.peer.sendData(stream, Buffer.alloc(bytes), false, 3)
        if (stream.engineReset === undefined) {
          if (byTrailers) test.peer.sendHeaders(1, [['x-end', '1']], true)
          else test.peer.sendData(stream, Buffer.alloc(0), true)
        }
        assert.equal(request.ends, isRight ? 1 : 0, `${announced} ${sent} ${byTrailers}`)
        assert.equal(request.failures, isRight ? 0 : 1)
        assert.equal(stream.engineReset, isRight ? undefined : CODE.PROTOCOL_ERROR)
        if (isRight) request.stream.answer(200, END_OK)
        expectClean(test)
      }
    }
  })

  it('reads trailers and refuses bad ones', () => {
    for (const [trailers, ends, isRight] of [
      [[['x-end', '1']], true, true],
      [[], true, true],
      [[['x-end', '1']], false, false],
      [[[':status', '200']], true, false],
      [[['X-End', '1']], true, false],
      [[['x-end', ' 1']], true, false],
    ] as const) {
      const test = serve()
      const { stream, request } = open(test, 1, false)
      request.stream.start(request)
      test.peer.sendData(stream, Buffer.from('x'), false)
      test.peer.sendHeaders(1, trailers as readonly Field[], ends)
      assert.equal(request.ends, isRight ? 1 : 0)
      assert.equal(stream.engineReset, isRight ? undefined : CODE.PROTOCOL_ERROR)
      if (isRight) request.stream.answer(200, END_OK)
      expectClean(test)
    }
  })
})

describe('ServerConnection: malformed requests', () => {
  const without = (name: string) => REQUEST.filter(([each]) => each !== name)
  const MALFORMED: Readonly<Record<string, readonly Field[]>> = {
    'no method': without(':method'),
    'no path': without(':path'),
    'no scheme': without(':scheme'),
    'an empty path': [...without(':path'), [':path', '']],
    'a pseudo field twice': [...REQUEST, [':path', '/b']],
    'a pseudo field behind a field': [...without(':path'), ['a', 'b'], [':path', '/']],
    'an unknown pseudo field': [...REQUEST, [':status', '200']],
    'an upper-case name': [...REQUEST, ['Accept', 'b']],
    'an empty name': [...REQUEST, ['', 'b']],
    'a name with a space': [...REQUEST, ['a b', 'b']],
    'a value with a line feed': [...REQUEST, ['a', 'b\nc']],
    'a value with NUL': [...REQUEST, ['a', '\0']],
    'a value with a space in front': [...REQUEST, ['a', ' b']],
    connection: [...REQUEST, ['connection', 'close']],
    'transfer-encoding': [...REQUEST, ['transfer-encoding', 'chunked']],
    'te other than trailers': [...REQUEST, ['te', 'gzip']],
    'two content-lengths': [...REQUEST, ['content-length', '1'], ['content-length', '2']],
    'a content-length that is none': [...REQUEST, ['content-length', '-1']],
  }
  for (const [what, fields] of Object.entries(MALFORMED)) {
    it(`resets the stream: ${what}`, () => {
      const test = serve()
      const stream = test.peer.sendHeaders(1, fields, false)
      assert.equal(stream.engineReset, CODE.PROTOCOL_ERROR)
      assert.equal(test.served.size, 0)
      // The body is on its way; section 5.1 wants it ignored.
      for (let i = 0; i < 60; i += 1) test.peer.sendData(stream, Buffer.alloc(100), i === 59)
      expectClean(test)
    })
  }

  it('ignores trailers that cross the reset', () => {
    const test = serve()
    const stream = test.peer.sendHeaders(1, [...REQUEST, ['connection', 'close']], false)
    assert.equal(stream.engineReset, CODE.PROTOCOL_ERROR)
    test.peer.sendData(stream, Buffer.alloc(100), false)
    test.peer.sendHeaders(1, [['x-end', '1']], true)
    expectClean(test)
  })

  it('joins cookies, keeps other fields apart', () => {
    const test = serve()
    const { request } = open(test, 1, true, [
      ['cookie', 'a=1'],
      ['x', '1'],
      ['cookie', 'b=2'],
      ['x', '2'],
      ['cookie', 'c=3'],
      ['x', '3'],
      ['content-length', '0'],
    ])
    assert.equal(request.stream.headers.cookie, 'a=1; b=2; c=3')
    assert.deepEqual(request.stream.headers.x, ['1', '2', '3'])
    assert.equal(request.stream.headers['content-length'], '0')
    assert.equal(Object.hasOwn(Object.prototype, 'x'), false)
  })

  it('answers 431 to a section that is too large, and goes on', () => {
    const test = serve()
    const many = Array.from({ length: 65 }, (_, at): Field => [`x-${at}`, '1'])
    const stream = test.peer.sendHeaders(1, [...REQUEST, ...many], false)
    assert.deepEqual(stream.sections, [[[':status', '431']]])
    test.peer.sendData(stream, Buffer.alloc(100), true)
    expectClean(test)
  })

  it('ends a request whose HEADERS depend on themselves, and no stream that is not open yet', () => {
    for (const isSplit of [false, true]) {
      const test = serve()
      test.peer.open(1)
      const payload = Buffer.concat([uint32(1), Buffer.from([0]), block(REQUEST)])
      const flags = FLAG.PRIORITY | FLAG.END_STREAM
      if (isSplit) {
        test.peer.feed(frame(FRAME.HEADERS, flags, 1, payload.subarray(0, 10)))
        test.peer.feed(frame(FRAME.CONTINUATION, FLAG.END_HEADERS, 1, payload.subarray(10)))
      } else test.peer.feed(frame(FRAME.HEADERS, flags | FLAG.END_HEADERS, 1, payload))
      const request = test.served.get(1)
      assert.ok(request !== undefined)
      assert.equal(request.gone, isSplit ? 0 : 1)
      request.stream.answer(200, END_OK)
      test.peer.read()
      expectClean(test)
    }
  })
})

describe('ServerConnection: the end', () => {
  it('finishes what is open, ignores what is new, and keeps the word of its GOAWAY', async () => {
    const test = serve()
    const { stream, request } = open(test, 1, false)
    request.stream.start(request)
    test.connection.announceEnd()
    const second = open(test, 3, true)
    test.connection.leave()
    await turn()
    test.peer.read()
    assert.deepEqual(test.peer.goaways, [
      { lastStream: 2 ** 31 - 1, code: 0 },
      { lastStream: 3, code: 0 },
    ])
    // Opened by a client that had not read the GOAWAY; its body is on its way, too.
    const late = test.peer.sendHeaders(5, REQUEST, false)
    for (let i = 0; i < 80; i += 1) test.peer.sendData(late, Buffer.alloc(100), false)
    assert.equal(test.served.has(5), false)
    assert.equal(test.connection.isClosed, false, 'what is open is not lost for it')
    test.peer.sendData(stream, Buffer.from('all'), true)
    assert.equal(request.received.toString(), 'all')
    second.request.stream.answer(200, END_OK)
    request.stream.answer(200, END_OK)
    test.peer.read()
    assert.equal(stream.hasEngineEnded, true)
    assert.equal(test.connection.isClosed, true)
    assert.deepEqual(test.misuses, [])
  })

  it('never raises the last stream of a GOAWAY, whatever ends it', async () => {
    const test = serve()
    open(test, 1, false)
    test.connection.leave()
    await turn()
    test.peer.sendHeaders(3, REQUEST, false)
    test.peer.feed(frame(FRAME.PING, 0, 0, [1, 2, 3]))
    assert.deepEqual(test.peer.goaways, [
      { lastStream: 1, code: 0 },
      { lastStream: 1, code: CODE.FRAME_SIZE_ERROR },
    ])
  })

  it('closes on an answer with connection: close, and does not send the field', async () => {
    const test = serve()
    const { stream, request } = open(test, 1, true)
    request.stream.answer(403, { connection: 'close' }, Buffer.from('no'))
    test.peer.read()
    assert.deepEqual(stream.sections, [[[':status', '403']]])
    assert.equal(stream.hasEngineEnded, true)
    await turn()
    assert.equal(test.connection.isClosed, true)
  })

  it('ends every request when the connection ends', () => {
    for (const how of ['close', 'end', 'protocol error'] as const) {
      const test = serve()
      const { request } = open(test, 1, false)
      request.stream.start(request)
      const waiting = open(test, 3, true).request
      waiting.stream.answer(200, {}, Buffer.alloc(200_000))
      if (how === 'protocol error') test.peer.feed(frame(FRAME.DATA, 0, 0, [1]))
      else test.socket.emit(how)
      assert.equal(test.connection.isClosed, true)
      assert.equal(test.connection.streams.size, 0)
      assert.deepEqual([request.ends, request.failures, request.gone], [0, 1, 1])
      // Its answer has begun: nobody listens any more, or the wait would keep all of the call.
      assert.equal(waiting.gone, 0)
      request.stream.answer(200, END_OK)
      request.stream.abandon()
    }
  })

  it('takes the last stream id there is', () => {
    const test = serve()
    const { stream, request } = open(test, 2 ** 31 - 1, true)
    request.stream.answer(200, END_OK)
    test.peer.read()
    assert.equal(stream.hasEngineEnded, true)
  })

  it('refuses more streams than it allows, and takes the next when one ends', () => {
    const test = serve({ maxStreams: 2 })
    const first = open(test, 1, false)
    open(test, 3, false)
    const third = test.peer.sendHeaders(5, REQUEST, false)
    assert.equal(third.engineReset, CODE.REFUSED_STREAM)
    test.peer.sendData(third, Buffer.alloc(100), true)
    test.peer.sendReset(first.stream, CODE.CANCEL)
    open(test, 7, true).request.stream.answer(200, END_OK)
    test.peer.read()
    assert.equal(test.connection.isClosed, false)
  })

  it('stops reading from a client that does not read, until it does', async () => {
    let requests = 0
    const { socket, connection } = serve({
      onRequest: (stream) => {
        requests += 1
        stream.answer(200, { 'x-long': 'x'.repeat(1000) })
      },
    })
    socket.isStuck = true
    const flags = FLAG.END_HEADERS | FLAG.END_STREAM
    const send = () => {
      for (let i = 0; i < 1000 && !socket.isPaused(); i += 1) {
        socket.feed(frame(FRAME.HEADERS, flags, 1 + 2 * requests, block(REQUEST)))
        connection.outbox.flush()
      }
    }
    send()
    assert.ok(socket.isPaused())
    assert.ok(requests < 1000)
    assert.ok(connection.outbox.pendingBytes < 300_000)
    socket.unstick()
    await new Promise(setImmediate)
    assert.equal(socket.isPaused(), false)
    assert.equal(connection.outbox.pendingBytes, 0)
    const before = requests
    send()
    assert.equal(requests, before + 1000)
    assert.equal(connection.isClosed, false)
  })
})
