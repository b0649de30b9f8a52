/**
 * The units in docker/systemd: what systemd itself says of them, and whether the gateway works under
 * what they forbid. systemd is not the first process where tests run, so confine.py stands in for it.
 */
import assert from 'node:assert/strict'
import { chmod, chown, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { assertAccepted, assertRefusedWith } from '../../support/answers.ts'
import { writeCertificate } from '../../support/certs.ts'
import { Child, runToEnd } from '../../support/child.ts'
import { Client, WAYS } from '../../support/client.ts'
import { startCollector } from '../../support/collector.ts'
import { eventually } from '../../support/eventually.ts'
import { tokenSet } from '../../support/gateway.ts'
import { FREE_PORTS, runTollgate } from '../../support/run-command.ts'
import { TOKEN } from '../../support/spawn-gateway.ts'
import { hasTools, ROOT, tool } from '../../support/tools.ts'

const UNITS = join(ROOT, 'docker/systemd')
const SERVICE = join(UNITS, 'tollgate.service')
const PYTHON = '/usr/bin/python3'
/** Nobody's on any machine that tests run on. */
const UID = 64_532

async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-systemd-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

test('systemd knows every line of the units, with the sockets and without', async (t) => {
  if (!hasTools(t, 'systemd-analyze')) return
  const folder = await temporaryFolder(t)
  await cp(UNITS, folder, { recursive: true })
  // It wants to find the program.
  const path = join(folder, 'tollgate.service')
  const unit = await readFile(path, 'utf8')
  await writeFile(path, unit.replace('/usr/bin/tollgate serve', process.execPath))
  const names = ['tollgate.service', 'tollgate-grpc.socket', 'tollgate-http.socket']
  const verify = () =>
    runToEnd(
      tool('systemd-analyze'),
      ['verify', '--man=no', '--recursive-errors=no', ...names.map((name) => join(folder, name))],
      { env: { ...process.env, SYSTEMD_UNIT_PATH: `${folder}:` } },
    )
  const { code, stderr } = await verify()
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
  await writeFile(path, unit.replace('ProtectClock', 'ProtectClok'))
  assert.match((await verify()).stderr, /ProtectClok/, 'it does look')
  await rm(join(folder, 'tollgate.service.d'), { recursive: true })
  await writeFile(path, unit.replace('/usr/bin/tollgate serve', process.execPath))
  assert.equal((await verify()).code, 0)
})

test('the pages show the units as they are', async () => {
  const shown = async (page: string) => {
    const text = await readFile(join(ROOT, 'docs', page), 'utf8')
    return [...text.matchAll(/^```ini\n(.*?)^```/gms)].map(([, block]) => block)
  }
  const unit = (name: string) => readFile(join(UNITS, name), 'utf8')
  assert.deepEqual(await shown('deploy.md'), [await unit('tollgate.service')])
  assert.deepEqual(await shown('restarts.md'), [
    await unit('tollgate-grpc.socket'),
    await unit('tollgate-http.socket'),
    await unit('tollgate.service.d/sockets.conf'),
  ])
})

test('the exposure of the service is what docs/deploy.md says', async (t) => {
  if (!hasTools(t, 'systemd-analyze')) return
  const { code, stdout, stderr } = await runToEnd(tool('systemd-analyze'), [
    ...['security', '--offline=true', '--no-pager', '--threshold=12', SERVICE],
  ])
  assert.equal(code, 0, stdout + stderr)
  const exposure = /Overall exposure level for tollgate\.service: (\d+\.\d) OK/.exec(stdout)?.[1]
  assert.ok(exposure !== undefined, stdout)
  const page = await readFile(join(ROOT, 'docs/deploy.md'), 'utf8')
  assert.ok(page.includes(`calls the exposure of this unit ${exposure} `), exposure)
})

test('the gateway works under everything that the unit forbids', async (t) => {
  if (!hasTools(t, 'systemd-analyze')) return
  if (process.getuid?.() !== 0) {
    if (process.env.CI === 'true') throw new Error('confine.py needs root')
    t.skip('SKIP: confine.py needs root')
    return
  }
  const seccomp = await runToEnd(PYTHON, ['-c', 'import seccomp'])
  if (seccomp.code !== 0) {
    if (process.env.CI === 'true') throw new Error(`python3-seccomp: ${seccomp.stderr}`)
    t.skip('SKIP: python3-seccomp not installed: run .ci/tools')
    return
  }
  assert.ok(process.execPath.startsWith(ROOT), 'run with the Node.js of npm ci')
  const collector = await startCollector()
  t.after(() => collector.die())
  const folder = await temporaryFolder(t)
  const [state = '', logs = '', tls = ''] = ['state', 'logs', 'tls'].map((name) =>
    join(folder, name),
  )
  const tokens = join(state, 'tokens.json')
  for (const path of [state, logs, tls]) await mkdir(path)
  await writeFile(tokens, tokenSet([{ token: TOKEN, id: 'one' }]))
  for (const path of [state, logs, tokens]) await chown(path, UID, UID)
  // Of root, and readable by the group, as the hook for certbot leaves it.
  const renew = async () => {
    const { certPath, keyPath, caPem } = await writeCertificate(tls)
    for (const path of [certPath, keyPath]) {
      await chmod(path, 0o640)
      await chown(path, 0, UID)
    }
    return caPem
  }
  const caPem = await renew()
  const child = new Child(
    PYTHON,
    [
      ...[join(ROOT, 'test/real/systemd/confine.py'), SERVICE, String(UID)],
      ...[`--bind=${ROOT}=/srv/app=ro`, `--bind=${state}=/srv/state=rw`],
      ...[`--bind=${logs}=/srv/logs=rw`, `--bind=${tls}=/srv/tls=ro`, '--'],
      ...[join('/srv/app', process.execPath.slice(ROOT.length)), '/srv/app/src/main.ts', 'serve'],
    ],
    {
      env: {
        ...FREE_PORTS,
        PATH: '/usr/bin:/bin',
        TOLLGATE_COLLECTOR_GRPC: `http://localhost:${collector.grpcPort}`,
        TOLLGATE_TOKENS_FILE: '/srv/state/tokens.json',
        TOLLGATE_TLS_CERT: '/srv/tls/test.pem',
        TOLLGATE_TLS_KEY: '/srv/tls/test.key',
        TOLLGATE_STATE_DIR: '/srv/state',
        TOLLGATE_AUDIT_LOG: '/srv/logs/audit.log',
        TOLLGATE_LOG_FORMAT: 'json',
      },
    },
  )
  t.after(() => child.kill('SIGKILL'))
  type Line = Readonly<Record<string, string>>
  const said = (event: string) =>
    child.stderr.flatMap((line) => {
      const fields = line.startsWith('{') ? (JSON.parse(line) as Line) : undefined
      return fields?.event === event ? [fields] : []
    })
  await child.line('stderr', (line) => line.includes('"event":"listening"') || undefined)
  const { grpc = '', http = '' } = said('listening')[0] ?? {}
  const send = async (way: (typeof WAYS)[number], token: string) => {
    const client = new Client({ way, address: way === 'gRPC' ? grpc : http, caPem, token })
    try {
      return await client.send()
    } finally {
      client.close()
    }
  }
  for (const way of WAYS) assertAccepted(await send(way, TOKEN))
  assertRefusedWith(await send('gRPC', 'a-token-that-is-none-0123456789'), 401, 16)
  await eventually(
    async () => /token_unknown/.test(await readFile(join(logs, 'audit.log'), 'utf8')),
    'the audit log',
  )

  // Files are written anew beside the old ones, by commands too, and read again at SIGHUP.
  const next = `${TOKEN}-the-second`
  await writeFile(
    tokens,
    tokenSet([
      { token: TOKEN, id: 'one' },
      { token: next, id: 'two' },
    ]),
  )
  child.kill('SIGHUP')
  await eventually(() => said('reload').length > 0, 'the reload')
  await eventually(() => said('tokens_loaded').length > 1, 'the tokens')
  assertAccepted(await send('HTTP/2', next))

  await renew()
  await eventually(() => said('certificate_loaded').length > 1, 'the new certificate')
  assertAccepted(await send('gRPC', next))

  // A new gateway is started as a child, and takes over what the state directory holds.
  const env = { TOLLGATE_STATE_DIR: state }
  const { code, stderr } = await runTollgate(['restart', '--state-dir', state], env)
  assert.equal(code, 0, stderr)
  await eventually(() => said('listening').length > 1, 'the new gateway')
  for (const way of WAYS) assertAccepted(await send(way, next))

  child.kill('SIGTERM')
  assert.deepEqual(await child.exit, { code: 0, signal: null })
  await readFile(join(state, 'ledger.json'))
  assert.deepEqual(said('internal'), [])
})
