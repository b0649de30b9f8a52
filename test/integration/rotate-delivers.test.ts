/** One rotation that hands its token to a program and to Dokploy, by the command line and the environment. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { FakeDokploy } from '../support/dokploy.ts'
import { startGateway, TOKEN } from '../support/gateway.ts'
import { runTollgate } from '../support/run-command.ts'

const KEY = 'dokploy-api-key-0123456789'

test('a rotation delivers to a program and to Dokploy', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'rotate-delivers-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const dokploy = await FakeDokploy.start()
  t.after(() => dokploy.stop())
  dokploy.addKey(KEY)
  const before = `A=1\nOTEL_EXPORTER_OTLP_HEADERS="x-tenant=a,Authorization=Bearer%20${TOKEN}"\n`
  const app = dokploy.addService('application', 'app1', before)
  const gateway = await startGateway(t, {
    tokens: [{ token: TOKEN, id: 'old', holder: 'web-shop', scopes: ['traces'] }],
  })
  const program = join(folder, 'push-token')
  const script = `#!/bin/sh\ncat > ${folder}/"$TOLLGATE_HOLDER"\necho "pushed $TOLLGATE_TOKEN_ID"\n`
  await writeFile(program, script, { mode: 0o755 })
  const keyFile = join(folder, 'key')
  await writeFile(keyFile, `${KEY}\n`, { mode: 0o600 })
  const deliver = [
    '--deliver',
    `exec:${program}`,
    '--deliver',
    'dokploy:application/app1#OTEL_EXPORTER_OTLP_HEADERS',
  ]
  const env = {
    TOLLGATE_STATE_DIR: gateway.folder,
    TOLLGATE_TOKENS_FILE: gateway.tokensFile,
    TOLLGATE_DOKPLOY_URL: dokploy.url,
  }

  const blind = await runTollgate(['rotate', ...deliver, '--dry-run'], env)
  assert.match(blind.stdout + blind.stderr, /how Dokploy is reached; set TOLLGATE_DOKPLOY_API_KEY/)

  const full = { ...env, TOLLGATE_DOKPLOY_API_KEY_FILE: keyFile }
  const tried = await runTollgate(['rotate', ...deliver, '--dry-run'], full)
  assert.equal(tried.code, 0, tried.stderr)
  assert.match(tried.stdout, /exec:.*: would run .*push-token with the token on its standard input/)
  assert.match(tried.stdout, /would replace OTEL_EXPORTER_OTLP_HEADERS in the environment of appl/)
  assert.equal(app.fields.env, before)

  const begun = await runTollgate(['rotate', ...deliver], full)
  assert.equal(begun.code, 0, begun.stderr)
  assert.match(begun.stdout, /exec:.*: pushed \w{8}\n/)
  assert.match(begun.stdout, /dokploy:.*: wrote .* and reloaded it; the new task runs/)

  const token = (await readFile(join(folder, 'web-shop'), 'utf8')).trim()
  assert.equal(
    app.tasks[0]?.env.OTEL_EXPORTER_OTLP_HEADERS,
    `x-tenant=a,Authorization=Bearer%20${token}`,
  )
  const { httpStatus } = await gateway.connect('HTTP/1.1').send({ token })
  assert.equal(httpStatus, 200)
  for (const text of [tried, begun].flatMap(({ stdout, stderr }) => [stdout, stderr])) {
    assert.ok(!text.includes(token) && !text.includes(KEY))
  }
})
