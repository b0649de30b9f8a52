/** A fail2ban of a test's own, with the filter and the jail that are shipped. */
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Child, runToEnd } from './child.ts'
import { ROOT, tool } from './tools.ts'
import type { Ending } from './undoing.ts'

const SHIPPED = join(ROOT, 'docker/fail2ban')
const BAN_TIMEOUT_MS = 60_000

export interface Fail2ban {
  /** Resolves when it has said this, such as `Ban 203.0.113.9`; each is heard once. */
  said(words: string): Promise<void>
  /** Runs `fail2ban-client`. Throws where it fails. */
  client(...args: string[]): Promise<string>
  /** All that it wrote. */
  output(): string
}

export interface Fail2banOptions {
  /** Network namespace whose firewall it works on. */
  readonly namespace: string
  /** For its files. */
  readonly folder: string
  /** Lines below `[tollgate]` in a file of the operator's own, such as `logpath = …`. */
  readonly settings: readonly string[]
  /** The jail as the operator has edited it. Default as shipped. */
  readonly edit?: (jail: string) => string
}

/** Starts it and resolves when the jail works. Ends with the test. */
export async function startFail2ban(t: Ending, options: Fail2banOptions): Promise<Fail2ban> {
  const { namespace, folder } = options
  const enter = ['netns', 'exec', namespace]
  const socket = join(folder, 'fail2ban.sock')
  const server = new Child(tool('ip'), [
    ...[...enter, tool('fail2ban-server'), '-c', configure(options)],
    ...['-s', socket, '-p', join(folder, 'fail2ban.pid'), '-f', 'start'],
  ])
  t.after(async () => {
    server.kill('SIGTERM')
    await server.exit
  })
  const said = async (words: string) => {
    const isIt = new RegExp(`(?:^|\\W)${words.replaceAll(/[.[\]]/g, '\\$&')}(?:\\s|$)`)
    await server.line('stdout', (line) => isIt.test(line) || undefined, BAN_TIMEOUT_MS)
  }
  await said("Jail 'tollgate' started")
  return {
    said,
    output: () => server.output,
    async client(...args) {
      const given = [...enter, tool('fail2ban-client'), '-s', socket, ...args]
      const { code, stdout, stderr } = await runToEnd(tool('ip'), given)
      assert.equal(code, 0, stderr)
      return stdout
    },
  }
}

/** The system's settings, with our two files at their places and nothing else in jail.d. */
function configure({ folder, settings, edit = (jail) => jail }: Fail2banOptions): string {
  const etc = join(folder, 'etc')
  cpSync('/etc/fail2ban', etc, { recursive: true })
  rmSync(join(etc, 'jail.d'), { recursive: true })
  mkdirSync(join(etc, 'jail.d'))
  cpSync(join(SHIPPED, 'filter.d/tollgate.conf'), join(etc, 'filter.d/tollgate.conf'))
  const jail = readFileSync(join(SHIPPED, 'jail.d/tollgate.local'), 'utf8')
  writeFileSync(join(etc, 'jail.d/tollgate.local'), edit(jail))
  writeFileSync(
    join(etc, 'fail2ban.local'),
    '[Definition]\nlogtarget = STDOUT\nloglevel = INFO\ndbfile = None\n',
  )
  writeFileSync(join(etc, 'jail.d/zz-own.local'), ['[tollgate]', ...settings, ''].join('\n'))
  return etc
}
