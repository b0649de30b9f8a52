/** A proxy that is announced and does not tell who comes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertAccepted } from '../support/answers.ts'
import { type Page, sumOf } from '../support/exposition.ts'
import { startGateway } from '../support/gateway.ts'
import { runTollgate } from '../support/run-command.ts'

const TRUSTED = { TRUSTED_PROXIES: '127.0.0.0/8' }
const hidden = (page: Page) => sumOf(page, 'tollgate_client_addresses_hidden', { by: 'no_header' })

test('X-Forwarded-For is waited for and never comes: a line, a gauge, a note of tollgate check', async (t) => {
  const env = { TLS: 'off', CLIENT_ADDRESS: 'x-forwarded-for', ...TRUSTED }
  const gateway = await startGateway(t, { env })
  const check = async () => {
    const { stdout } = await runTollgate(['check'], {
      TOLLGATE_STATE_DIR: gateway.folder,
      TOLLGATE_TOKENS_FILE: gateway.tokensFile,
      TOLLGATE_COLLECTOR_GRPC: `http://127.0.0.1:${gateway.collector.grpcPort}`,
    })
    assert.match(stdout, /^ok {4}tokens/m)
    return stdout
  }
  assert.equal(hidden(await gateway.metrics()), 0)
  assert.doesNotMatch(await check(), /client addresses/)
  const client = gateway.connect('HTTP/1.1', { caPem: undefined })
  assertAccepted(await client.send())
  await gateway.until((page) => hidden(page) === 1, 'the gauge')
  assert.equal(hidden(await gateway.metrics()), 1)
  const said = (await gateway.log()).filter(({ event }) => event === 'client_addresses_hidden')
  assert.equal(said.length, 1, 'once')
  assert.match(String(said[0]?.msg), /seems to be at 127\.0\.0\.1, the proxy itself/)
  assert.match(
    await check(),
    /^note {2}client addresses: Every client seems to be at 127\.0\.0\.1, the proxy itself/m,
  )

  assertAccepted(await client.send({ headers: { 'x-forwarded-for': '203.0.113.9' } }))
  await gateway.until((page) => hidden(page) === 0, 'the gauge to fall')
  assert.doesNotMatch(await check(), /client addresses/)
})

test('the PROXY header is waited for and never comes', async (t) => {
  const env = { CLIENT_ADDRESS: 'proxy-protocol', ...TRUSTED }
  const gateway = await startGateway(t, { env })
  for (let at = 0; at < 3; at += 1) {
    assert.equal(hidden(await gateway.metrics()), 0)
    await assert.rejects(gateway.connect('gRPC').send())
  }
  await gateway.until((page) => hidden(page) === 1, 'the gauge')
  const [said] = (await gateway.log()).filter(({ event }) => event === 'client_addresses_hidden')
  assert.match(String(said?.msg), /No connection of the proxy begins with a PROXY header/)

  const prelude = Buffer.from('PROXY TCP4 203.0.113.9 127.0.0.1 55555 4317\r\n')
  assertAccepted(await gateway.connect('gRPC', { prelude }).send())
  await gateway.until((page) => hidden(page) === 0, 'the gauge to fall')
})
