/** A real collector is stopped for five seconds under load: nothing is lost, and nothing comes twice. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { assertAccepted, assertComeBack } from '../support/answers.ts'
import { type Answer, Client, WAYS } from '../support/client.ts'
import { eventually } from '../support/eventually.ts'
import { startOtelcol } from '../support/otelcol.ts'
import { spanMessage } from '../support/span.ts'
import { spawnGateway, TOKEN } from '../support/spawn-gateway.ts'
import { hasTools } from '../support/tools.ts'

const AWAY_MS = 5000
/** Calls of each client a second. */
const PER_SECOND = 10
/** What may be on its way at the moment the collector hangs up. */
const MAX_ASKED_BACK = 6
const RUN = 'restart'

for (const speaks of ['grpc', 'http'] as const) {
  test(`${speaks}: away for five seconds under steady load`, async (t) => {
    if (!hasTools(t, 'otelcol')) return
    await using otelcol = await startOtelcol()
    await using gateway = await spawnGateway({
      collector: { [speaks]: otelcol[speaks] },
      // One token may hold a tenth, and six seconds of this load are 180 calls.
      env: { TOLLGATE_MAX_HELD: '5000' },
    })
    const caPem = await readFile(gateway.certificate, 'utf8')
    const clients = WAYS.map((way) => {
      const address = way === 'gRPC' ? gateway.grpc : gateway.http
      return new Client({ way, address, caPem, token: TOKEN })
    })
    const retrier = new Client({ way: 'gRPC', address: gateway.grpc, caPem, token: TOKEN })
    t.after(() => {
      for (const client of [...clients, retrier]) client.close()
    })

    const answers: Promise<Answer>[] = []
    let isOver = false
    const load = (async () => {
      while (!isOver) {
        for (const client of clients) {
          const sent = client.send({ message: spanMessage(RUN, answers.length) })
          sent.catch(() => {})
          answers.push(sent)
        }
        await pause(1000 / PER_SECOND)
      }
    })()
    await Promise.all(answers.slice(0, 10))
    await pause(1000)
    await otelcol.stop()
    await pause(AWAY_MS)
    await otelcol.start()
    const sentSoFar = answers.length
    await eventually(() => answers.length > sentSoFar + 20, 'load after its return')
    isOver = true
    await load

    const askedBack = new Set<number>()
    for (const [seq, answer] of (await Promise.all(answers)).entries()) {
      const { way, httpStatus, grpcStatus } = answer
      if (httpStatus === 200 && (way !== 'gRPC' || grpcStatus === 0)) continue
      assertComeBack(answer)
      askedBack.add(seq)
    }
    // HTTP/1.1 cannot say of a connection that closes whether the request on its way was read (RFC
    // 9112 section 9.3.1), so it is the client who decides to send it again. GOAWAY says it.
    assert.ok(askedBack.size <= (speaks === 'grpc' ? 0 : MAX_ASKED_BACK), `${askedBack.size}`)
    for (const seq of askedBack)
      assertAccepted(await retrier.send({ message: spanMessage(RUN, seq) }))
    const spans = await eventually(async () => {
      const { spans: received } = await otelcol.received(RUN)
      return received.size >= answers.length && received
    }, 'everything in the file of the collector')
    const twice = [...spans].filter(([seq, count]) => count !== 1 && !askedBack.has(seq))
    assert.deepEqual(twice, [], 'nothing twice that nobody sent twice')
    assert.equal(spans.size, answers.length)
    assert.equal((await gateway.outcomes()).accepted, answers.length)
    await gateway.assertInvariant()
    t.diagnostic(`${answers.length} calls, ${askedBack.size} asked back`)
  })
}
