/**
 * The parser, the whitelist and the scenario for CrowdSec: by its own `cscli hubtest`, and in its engine
 * with the sample of an audit log and its local API. CrowdSec is that of Debian 12, 1.4.6.
 */
import assert from 'node:assert/strict'
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { auditLine } from '../../src/observe/audit.ts'
import { ATTACKERS, AUDIT_SAMPLE } from '../support/audit-sample.ts'
import { runToEnd } from '../support/child.ts'
import { packageFolder, SHIPPED, setUpCrowdSec } from '../support/crowdsec.ts'
import { eventually } from '../support/eventually.ts'
import { USER_AGENTS, VICTIM } from '../support/hostile-clients.ts'
import { freePorts } from '../support/otelcol.ts'
import { hasTools, tool } from '../support/tools.ts'
import { type Ending, undoing } from '../support/undoing.ts'

/** What is changed in which file, so that a test of the hub has to fail. */
const WRONG_CLAIMS = [
  ['scenario.assert', ATTACKERS.ipv4, VICTIM],
  ['scenario.assert', 'in[5]', 'in[6]'],
  ['scenario.assert', 'token-guessing', 'guessing'],
  ['parser.assert', '"token_unknown"', '"token_missing"'],
  ['parser.assert', '.Whitelisted}) == false', '.Whitelisted}) == true'],
] as const
const GUESSERS = Object.values(ATTACKERS).sort()

function folderOf(t: Ending): string {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-crowdsec-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}

test('hubtest: each line of the sample is read as it should be, and four guessers overflow', async (t) => {
  if (!hasTools(t, 'crowdsec', 'cscli', 'unshare')) return
  const hub = await hubOf(undoing(t))
  const right = await hubtest(hub)
  assert.equal(right.code, 0, right.stdout + right.stderr)
  assert.match(right.stdout, /tollgate\s+✅/)

  // Some forms of assertions let everything pass: each kind that is used is tried.
  for (const [file, right, wrong] of WRONG_CLAIMS) {
    const claims = join(hub, '.tests/tollgate', file)
    const text = readFileSync(claims, 'utf8')
    assert.ok(text.includes(right), right)
    writeFileSync(claims, text.replace(right, wrong))
    assert.match((await hubtest(hub)).stdout, /tollgate\s+❌/, wrong)
    writeFileSync(claims, text)
  }
})

test('the engine bans the guessers of a replayed log, and nobody else', async (t) => {
  if (!hasTools(t, 'crowdsec', 'cscli')) return
  const ending = undoing(t)
  const folder = folderOf(ending)
  const [port = 0] = await freePorts(1)
  const auditLog = join(folder, 'audit.log')
  copyFileSync(AUDIT_SAMPLE, auditLog)
  const crowdsec = await setUpCrowdSec(ending, { folder, port, auditLog })
  await crowdsec.replay(auditLog)

  // What was in the log is not read again by an engine that follows it; what comes is.
  await crowdsec.start()
  assert.deepEqual(await crowdsec.banned(), GUESSERS)
  const write = (address: string, userAgents: readonly (string | undefined)[]) => {
    for (const userAgent of userAgents)
      appendFileSync(
        auditLog,
        auditLine({
          wallMs: Date.now(),
          event: 'auth_refused',
          reason: 'token_unknown',
          address,
          protocol: 'http',
          signal: 'logs',
          userAgent,
        }),
      )
  }
  const injections = USER_AGENTS.map((bytes) => bytes.toString('latin1'))
  for (const address of ['10.1.2.3', '100.64.7.7', 'fd00::7', '172.18.0.1'])
    write(address, injections)
  write('203.0.113.60', injections.slice(0, 4))
  write('203.0.113.61', injections.slice(0, 5))
  await eventually(async () => (await crowdsec.banned()).includes('203.0.113.61'), 'a ban')
  assert.deepEqual(await crowdsec.banned(), [...GUESSERS, '203.0.113.61'].sort())

  await crowdsec.cscli('decisions', 'delete', '--ip', '203.0.113.61')
  assert.deepEqual(await crowdsec.banned(), GUESSERS)
  const alerts = JSON.parse(await crowdsec.cscli('alerts', 'list', '-o', 'json')) as {
    source: { ip: string; scope: string }
    scenario: string
  }[]
  assert.ok(alerts.length > 0)
  for (const { scenario, source } of alerts)
    assert.deepEqual([scenario, source.scope], ['tollgate/token-guessing', 'Ip'])
})

/** CrowdSec's own hub with our files in it. */
async function hubOf(t: Ending): Promise<string> {
  const folder = folderOf(t)
  const hub = join(folder, 'hub')
  const given = packageFolder()
  cpSync(join(given, 'usr/share/crowdsec/hub'), hub, { recursive: true })
  cpSync(SHIPPED, hub, { recursive: true })
  const tests = join(hub, '.tests')
  cpSync(join(given, 'etc/crowdsec/profiles.yaml'), join(tests, 'template_profiles.yaml'))
  writeFileSync(join(tests, 'template_simulation.yaml'), 'simulation: off\n')
  const [port = 0] = await freePorts(1)
  // Paths as hubtest wants them, in YAML that is JSON.
  const config = {
    common: {
      daemonize: false,
      pid_dir: './runtime',
      log_media: 'file',
      log_dir: './runtime/log/',
      working_dir: '.',
    },
    config_paths: {
      config_dir: './runtime/',
      data_dir: './runtime/data/',
      simulation_path: './runtime/simulation.yaml',
      hub_dir: './runtime/hub/',
      index_path: './runtime/hub/.index.json',
      notification_dir: './runtime/notifications/',
      plugin_dir: './runtime/plugins/',
    },
    crowdsec_service: { parser_routines: 1 },
    db_config: { type: 'sqlite', db_path: './runtime/data/crowdsec.db', use_wal: true },
    api: {
      client: { credentials_path: './runtime/local_api_credentials.yaml' },
      server: { listen_uri: `127.0.0.1:${port}`, profiles_path: './runtime/profiles.yaml' },
    },
    prometheus: { enabled: false },
  }
  writeFileSync(join(tests, 'template_config.yaml'), JSON.stringify(config))
  await setUpCrowdSec(t, { folder, port, auditLog: AUDIT_SAMPLE })
  return hub
}

/** hubtest takes the patterns from /etc/crowdsec, so the package's /etc is laid over the machine's, for it alone. */
function hubtest(hub: string): ReturnType<typeof runToEnd> {
  const overlay = `mount -t overlay overlay -o lowerdir=${join(packageFolder(), 'etc')}:/etc /etc`
  return runToEnd(
    tool('unshare'),
    [
      ...['--mount', 'sh', '-c', `${overlay} && exec "$@"`, 'sh'],
      ...[tool('cscli'), '-c', join(hub, '../etc/config.yaml'), 'hubtest', 'run', 'tollgate'],
      ...['--hub', hub, '--crowdsec', tool('crowdsec'), '--cscli', tool('cscli'), '--clean'],
    ],
    { cwd: hub },
  )
}
