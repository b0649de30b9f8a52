/** A CrowdSec of a test's own: its engine and local API, with the files of `docker/crowdsec` installed. */
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Child, runToEnd } from './child.ts'
import { ROOT, tool } from './tools.ts'
import type { Ending } from './undoing.ts'

/** The files that are shipped. */
export const SHIPPED = join(ROOT, 'docker/crowdsec')

/** Where CrowdSec's own files are: below it `etc/crowdsec` and `usr/share/crowdsec/hub`. */
export function packageFolder(): string {
  return join(realpathSync(join(ROOT, '.tools/crowdsec')), 'package')
}

/** What a program is run through, such as `ip netns exec NAME`. */
export type Prefix = readonly string[]

export interface CrowdSec {
  /** Resolves with what `cscli` printed. Throws where it fails. */
  cscli(...args: string[]): Promise<string>
  /** Reads a whole log once, as `-dsn` does, and ends. */
  replay(path: string): Promise<void>
  /** Starts the engine and its local API, and resolves when it follows the log. Ends with the test. */
  start(): Promise<void>
  /** Addresses under a ban, sorted. */
  banned(): Promise<string[]>
}

export interface CrowdSecOptions {
  /** Where everything of it lies. */
  readonly folder: string
  /** Of its local API, on 127.0.0.1. */
  readonly port: number
  /** The audit log that it follows. */
  readonly auditLog: string
  readonly prefix?: Prefix
}

/** Sets up a CrowdSec that knows nothing but the audit log, and reports to nobody. */
export async function setUpCrowdSec(t: Ending, options: CrowdSecOptions): Promise<CrowdSec> {
  const { folder, prefix = [] } = options
  const config = layOut(options)
  const run = async (name: string, ...args: string[]) => {
    const [program = '', ...rest] = [...prefix, tool(name), '-c', config, ...args]
    const { code, stdout, stderr } = await runToEnd(program, rest)
    assert.equal(code, 0, `${name} ${args.join(' ')}: ${stdout}\n${stderr}`)
    return stdout
  }
  const launch = (...args: string[]) => {
    const [program = '', ...rest] = [...prefix, tool('crowdsec'), '-c', config, ...args]
    return new Child(program, rest, { cwd: folder })
  }
  await run('cscli', 'machines', 'add', 'tests', '--force', '--password', 'a-password-of-tests')
  return {
    cscli: (...args) => run('cscli', ...args),
    async replay(path) {
      const child = launch('-dsn', `file://${path}`, '-type', 'tollgate')
      const { code } = await child.exit
      assert.equal(code, 0, child.output)
    },
    async start() {
      const child = launch()
      endWith(t, child)
      await child.line('stderr', (line) => line.includes('Starting processing data') || undefined)
    },
    async banned() {
      const list = JSON.parse(await run('cscli', 'decisions', 'list', '-o', 'json')) as
        | { decisions: { type: string; value: string; scenario: string }[] }[]
        | null
      const decisions = (list ?? []).flatMap((alert) => alert.decisions)
      for (const { type } of decisions) assert.equal(type, 'ban')
      return [...new Set(decisions.map(({ value }) => value))].sort()
    },
  }
}

/** Ends a program with the test. */
export function endWith(t: Ending, child: Child): void {
  t.after(async () => {
    child.kill('SIGTERM')
    await child.exit
  })
}

/** Writes its configuration, as documented, and resolves with the path of its main file. */
function layOut({ folder, port, auditLog }: CrowdSecOptions): string {
  const etc = join(folder, 'etc')
  const given = packageFolder()
  for (const name of ['acquis.d', 'notifications', 'parsers/s00-raw'])
    mkdirSync(join(etc, name), { recursive: true })
  for (const name of ['data', 'hub']) mkdirSync(join(folder, name), { recursive: true })
  const hub = join(given, 'usr/share/crowdsec/hub')
  cpSync(join(hub, '.index.json'), join(folder, 'hub/.index.json'))
  for (const name of ['patterns', 'profiles.yaml', 'simulation.yaml'])
    cpSync(join(given, 'etc/crowdsec', name), join(etc, name), { recursive: true })
  const parsers =
    'parsers/s00-raw/crowdsecurity/syslog-logs parsers/s02-enrich/crowdsecurity/dateparse-enrich'
  for (const name of parsers.split(' '))
    cpSync(join(hub, `${name}.yaml`), join(etc, `${name.replace('/crowdsecurity', '')}.yaml`))
  for (const kind of ['parsers/s01-parse', 'parsers/s02-enrich', 'scenarios', 'collections'])
    cpSync(join(SHIPPED, kind, 'tollgate'), join(etc, kind), { recursive: true })
  // acquis.d/tollgate.yaml, with its logpath set.
  writeFileSync(
    join(etc, 'acquis.yaml'),
    JSON.stringify({ filenames: [auditLog], labels: { type: 'tollgate' } }),
  )
  const config = join(etc, 'config.yaml')
  writeFileSync(join(etc, 'lapi.yaml'), '')
  // YAML takes JSON.
  writeFileSync(config, JSON.stringify(settings(folder, etc, port)))
  return config
}

function settings(folder: string, etc: string, port: number) {
  return {
    common: { daemonize: false, log_media: 'stdout', log_level: 'info', working_dir: '.' },
    config_paths: {
      config_dir: etc,
      data_dir: join(folder, 'data'),
      simulation_path: join(etc, 'simulation.yaml'),
      hub_dir: join(folder, 'hub'),
      index_path: join(folder, 'hub/.index.json'),
      notification_dir: join(etc, 'notifications'),
      plugin_dir: join(packageFolder(), 'usr/lib/crowdsec/plugins'),
    },
    crowdsec_service: {
      acquisition_path: join(etc, 'acquis.yaml'),
      acquisition_dir: join(etc, 'acquis.d'),
      parser_routines: 1,
    },
    cscli: { output: 'human', color: 'no' },
    db_config: { type: 'sqlite', db_path: join(folder, 'data/crowdsec.db'), use_wal: true },
    api: {
      client: { insecure_skip_verify: false, credentials_path: join(etc, 'lapi.yaml') },
      // Without online_client it tells CrowdSec's servers nothing.
      server: { listen_uri: `127.0.0.1:${port}`, profiles_path: join(etc, 'profiles.yaml') },
    },
    prometheus: { enabled: false },
  }
}
