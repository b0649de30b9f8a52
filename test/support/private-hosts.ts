/** Programs that know a name of the tests: each in a mount namespace of its own, with another /etc/hosts. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { runToEnd } from './child.ts'

/**
 * What to put in front of a program and its arguments, so that the name is 127.0.0.1 to it and to
 * nobody else on this machine. Undefined where this user may not mount: the test is skipped then, or
 * fails where CI=true.
 */
export async function withPrivateHosts(
  t: TestContext,
  name: string,
): Promise<readonly string[] | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-hosts-'))
  t.after(() => rm(folder, { recursive: true }))
  const hosts = join(folder, 'hosts')
  await writeFile(hosts, `${await readFile('/etc/hosts', 'utf8')}\n127.0.0.1 ${name}\n`)
  const asRoot = process.getuid?.() === 0 ? [] : ['--map-root-user']
  const front = [
    ...['unshare', '--mount', '--propagation', 'private', ...asRoot],
    ...['/bin/sh', '-c', 'mount --bind "$0" /etc/hosts && exec "$@"', hosts],
  ]
  const [program = '', ...args] = front
  const { code, stdout, stderr } = await runToEnd(program, [...args, 'getent', 'ahostsv4', name])
  if (code === 0 && stdout.startsWith('127.0.0.1 ')) return front
  const why = `no mount namespace with a hosts file of its own: ${stdout}${stderr}`
  if (process.env.CI === 'true') throw new Error(why)
  t.skip(`SKIP: ${why}`)
  return undefined
}
