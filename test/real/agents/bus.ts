/** A desktop's session of its own: a bus with an unlocked GNOME keyring on it. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Child } from '../../support/child.ts'
import { tool } from '../../support/tools.ts'

/** What a session needs of `.ci/tools`. */
export const BUS_TOOLS = ['gnome-keyring-daemon', 'secret-tool', 'dbus-run-session']

export interface Bus extends AsyncDisposable {
  /** The variables by which programs find the session. */
  readonly env: Readonly<Record<string, string>>
}

/** Starts one; it lasts until it is disposed of. */
export async function startBus(): Promise<Bus> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-bus-'))
  const env = {
    HOME: join(folder, 'home'),
    XDG_RUNTIME_DIR: join(folder, 'run'),
    XDG_DATA_HOME: join(folder, 'data'),
  }
  for (const path of Object.values(env)) await mkdir(path, { mode: 0o700 })
  const script =
    'printf pw | gnome-keyring-daemon --unlock --components=secrets >/dev/null; ' +
    'echo "bus $$ $DBUS_SESSION_BUS_ADDRESS"; exec sleep 1000'
  const child = new Child(tool('dbus-run-session'), ['--', 'sh', '-c', script], {
    env: { PATH: process.env.PATH, ...env },
  })
  const [, pid = '', address = ''] = await child.line(
    'stdout',
    (line) => /^bus (\d+) (\S+)/.exec(line) ?? undefined,
  )
  return {
    env: { ...env, DBUS_SESSION_BUS_ADDRESS: address },
    async [Symbol.asyncDispose]() {
      // The session ends with the program that it was started for.
      process.kill(Number(pid))
      await child.exit
      await rm(folder, { recursive: true, force: true })
    },
  }
}
