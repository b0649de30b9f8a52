/**
 * A request that is refused in the very moment in which the token is being replaced is sent again with
 * the new one. No gateway can be made to refuse in that moment, so a scripted collector stands in for
 * it here: it takes the next request, has the token file replaced, and then answers 401 or
 * UNAUTHENTICATED, as the gateway does for a token that was revoked.
 */
import assert from 'node:assert/strict'
import { renameSync, writeFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { countItems, countJsonItems } from '../../../src/otlp/count.ts'
import { signalFromGrpcPath, signalFromHttpPath } from '../../../src/otlp/signal.ts'
import { writeCertificate } from '../../support/certs.ts'
import { type ScriptedCollector, startCollector } from '../../support/collector.ts'
import type { Reached } from '../../support/collector-script.ts'
import { hasTools } from '../../support/tools.ts'
import { KINDS, PROVIDER_TOOLS, SENDER_TOOLS, startSender, titleOf } from '../senders/run.ts'
import { PATIENT_PYTHON } from './cast.ts'

const OLD = 'Bearer the-old-token-0123456789'
const NEW = 'Bearer the-new-token-0123456789'
/** Metrics are sent once at the end, with points about the SDK itself. */
const SIGNALS = ['traces', 'logs'] as const
const GRPC_PREFIX_BYTES = 5
const UNAUTHENTICATED = 16

const CASES = [
  ...KINDS.map((kind) => ({ kind, env: {}, title: titleOf(kind) })),
  { kind: PATIENT_PYTHON.kind, env: PATIENT_PYTHON.env ?? {}, title: 'python grpc, patient' },
]

for (const { kind, env, title } of CASES) {
  // Its credentials are asked for a token and learn nothing of the answer.
  const losesIt = title === 'python grpc'
  test(`${title}: refused while the token is replaced, ${losesIt ? 'it loses that batch' : 'it loses nothing'}`, async (t) => {
    if (!hasTools(t, ...SENDER_TOOLS, ...PROVIDER_TOOLS)) return
    const folder = await mkdtemp(join(tmpdir(), 'tollgate-refused-'))
    t.after(() => rm(folder, { recursive: true, force: true }))
    const { certPath, keyPath, caPem } = await writeCertificate(folder)
    const certificate = join(folder, 'ca.pem')
    await writeFile(certificate, caPem)
    const gateway = await startCollector({
      tls: { cert: await readFile(certPath, 'utf8'), key: await readFile(keyPath, 'utf8') },
    })
    t.after(() => gateway.die())
    const tokenFile = join(folder, 'token')
    await writeFile(tokenFile, `${OLD.slice(7)}\n`)
    const port = kind.protocol === 'grpc' ? gateway.grpcPort : gateway.httpPort
    const until = join(folder, 'stop')
    const sender = startSender(
      kind,
      { endpoint: `https://localhost:${port}`, certificate, tokenFile, env },
      { items: 1200, seconds: 60, until },
    )
    t.after(() => writeFile(until, '').catch(() => {}))
    const ended = sender.done.then(() => assert.fail('it ended before it was told to'))
    ended.catch(() => {})
    await Promise.race([gateway.hasReached(2), ended])
    const refused = await refuseNext(gateway, () => {
      writeFileSync(`${tokenFile}.new`, `${NEW.slice(7)}\n`)
      renameSync(`${tokenFile}.new`, tokenFile)
    })
    await Promise.race([gateway.hasReached(gateway.reached.length + 4), ended])
    await writeFile(until, '')
    const { sent, logged } = await sender.done
    assert.equal(refused.headers.authorization, OLD)
    assert.equal(gateway.reached.at(-1)?.headers.authorization, NEW)
    const accepted = gateway.reached.filter((request) => request !== refused)
    const counts = SIGNALS.map((signal) =>
      accepted.reduce((sum, request) => sum + itemsOf(request, signal), 0),
    )
    const lost = SIGNALS.map((signal) => (losesIt ? itemsOf(refused, signal) : 0))
    assert.deepEqual(
      counts,
      lost.map((count) => sent - count),
      logged.join('\n'),
    )
    assert.equal(
      lost.some((count) => count > 0),
      losesIt,
    )
  })
}

/** The next request, which is refused after `meanwhile` has run. */
async function refuseNext(gateway: ScriptedCollector, meanwhile: () => void): Promise<Reached> {
  const index = gateway.reached.length
  gateway.script({ kind: 'refuse', status: UNAUTHENTICATED, httpStatus: 401 })
  const look = () => {
    if (gateway.reached.length <= index) return
    // At once: what comes with the next turn may be the answer.
    meanwhile()
    gateway.off('change', look)
  }
  gateway.on('change', look)
  await gateway.hasReached(index + 1)
  const refused = gateway.reached[index]
  assert.ok(refused !== undefined)
  return refused
}

function itemsOf(request: Reached, wanted: (typeof SIGNALS)[number]): number {
  const isGrpc = request.protocol === 'grpc'
  const signal = isGrpc ? signalFromGrpcPath(request.path) : signalFromHttpPath(request.path)
  if (signal !== wanted) return 0
  const bytes = isGrpc ? request.bytes().subarray(GRPC_PREFIX_BYTES) : request.bytes()
  const isJson = request.headers['content-type'] === 'application/json'
  return isJson ? countJsonItems(signal, bytes) : countItems(signal, bytes)
}
