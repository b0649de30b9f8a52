/** Tokens in a real GNOME keyring on a bus of its own, with Python's keyring as the other party. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it, type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { hasTools, ROOT } from '../support/tools.ts'

const run = promisify(execFile)
const STEP = join(ROOT, 'test/support/keyring-step.ts')
/** Debian's, which has the keyring package from Debian. */
const PYTHON = '/usr/bin/python3'
const PLACE = 'keyring:ai-cost-observer/otel-bearer-token'
const NAMES = ['ai-cost-observer', 'otel-bearer-token'] as const

let folder: string
let env: Record<string, string>
let session: ChildProcess | undefined

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyring-'))
  env = {
    PATH: process.env.PATH ?? '',
    HOME: join(folder, 'home'),
    XDG_RUNTIME_DIR: join(folder, 'run'),
    XDG_DATA_HOME: join(folder, 'data'),
  }
  for (const name of ['home', 'run', 'data']) await mkdir(join(folder, name), { mode: 0o700 })
})

after(async () => {
  if (session !== undefined) await end(session)
  await rm(folder, { recursive: true, force: true })
})

/** Ends a session: it lasts as long as its standard input. */
async function end(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit')
  child.stdin?.end()
  await ended
}

/** A session bus, where `setup` runs first. Resolves with its address. */
async function startBus(setup: string, ...options: string[]): Promise<[ChildProcess, string]> {
  const script = `${setup}; echo "$DBUS_SESSION_BUS_ADDRESS"; cat >/dev/null`
  const args = [...options, '--', 'sh', '-c', script]
  const child = spawn('dbus-run-session', args, { env, stdio: ['pipe', 'pipe', 'ignore'] })
  const [address] = await once(createInterface(child.stdout), 'line')
  return [child, String(address)]
}

/** Starts the keyring once for all tests that need it; false where it is not installed. */
async function hasKeyring(t: TestContext): Promise<boolean> {
  if (!hasTools(t, 'gnome-keyring-daemon', 'secret-tool', 'dbus-run-session', 'dbus-send')) {
    return false
  }
  if (session !== undefined) return true
  try {
    await run(PYTHON, ['-c', 'import keyring, secretstorage'])
  } catch (error) {
    if (process.env.CI === 'true') throw error
    t.skip('SKIP: python3-keyring not installed: run .ci/tools')
    return false
  }
  const unlock = 'printf pw | gnome-keyring-daemon --unlock --components=secrets >/dev/null'
  const [child, address] = await startBus(unlock)
  session = child
  env = { ...env, DBUS_SESSION_BUS_ADDRESS: address }
  return true
}

interface Outcome {
  readonly said?: string | null
  readonly fault?: string
  readonly isTemporary?: boolean
}

async function step(args: readonly string[], token = '', more: object = {}): Promise<Outcome> {
  const options = ['--disable-warning=ExperimentalWarning', STEP, ...args]
  const running = run(process.execPath, options, { env: { ...env, ...more }, timeout: 60_000 })
  running.child.stdin?.end(token)
  return JSON.parse((await running).stdout)
}

const said = async (...args: Parameters<typeof step>) => {
  const outcome = await step(...args)
  assert.equal(outcome.fault, undefined)
  return outcome.said ?? undefined
}

async function python(code: string, ...args: string[]): Promise<string> {
  const { stdout } = await run(PYTHON, ['-c', `import keyring, sys\n${code}`, ...args], { env })
  return stdout.trim()
}

const pythonReads = () => python('print(keyring.get_password(*sys.argv[1:]))', ...NAMES)
const pythonWrites = (token: string) =>
  python('keyring.set_password(*sys.argv[1:])', ...NAMES, token)
const secretTool = (...args: string[]) => run('secret-tool', args, { env })
const clear = () => secretTool('clear', 'service', NAMES[0], 'username', NAMES[1]).catch(() => {})

async function countItems(): Promise<number> {
  const { stdout } = await secretTool('search', '--all', 'service', NAMES[0], 'username', NAMES[1])
  return stdout.split('\n').filter((line) => line.startsWith('secret = ')).length
}

describe('keyring:SERVICE/USER with a keyring', () => {
  it('makes an item that Python reads, and later changes without adding a second', async (t) => {
    if (!(await hasKeyring(t))) return
    await clear()
    assert.equal(await said(['read', ...NAMES]), undefined)
    assert.match(`${await said(['check', PLACE])}`, /^would make the item ai-cost-observer\/otel-/)
    assert.match(`${await said(['deliver', PLACE], 'tg_one')}`, /^made the item/)
    assert.equal(await pythonReads(), 'tg_one')
    await pythonWrites('tg_two')
    assert.equal(await countItems(), 1)
    assert.equal(await said(['read', ...NAMES]), 'tg_two')
    assert.match(`${await said(['deliver', PLACE], 'tg_three')}`, /^changed the item/)
    assert.equal(await pythonReads(), 'tg_three')
    assert.equal(await countItems(), 1)
  })

  it('changes in place what Python made', async (t) => {
    if (!(await hasKeyring(t))) return
    await clear()
    await pythonWrites('tg_one')
    assert.match(`${await said(['check', PLACE])}`, /^would change the item .* in place$/)
    assert.match(`${await said(['deliver', PLACE], 'tg_two')}`, /^changed the item/)
    assert.match(`${await said(['deliver', PLACE], 'tg_two')}`, /^changed the item/)
    assert.equal(await pythonReads(), 'tg_two')
    assert.equal(await countItems(), 1)
  })

  it('makes one of several items', async (t) => {
    if (!(await hasKeyring(t))) return
    await clear()
    // An item without Python's third attribute, as other programs make it, and Python's beside it.
    const attributes = ['service', NAMES[0], 'username', NAMES[1]]
    const store = run('secret-tool', ['store', '--label=other', ...attributes], { env })
    store.child.stdin?.end('tg_one')
    await store
    await pythonWrites('tg_two')
    assert.equal(await countItems(), 2)
    const outcome = await step(['read', ...NAMES])
    assert.match(`${outcome.fault}`, /holds several items for .*; a delivery makes them one; by/)
    assert.match(`${await said(['check', PLACE])}`, /^would replace the several items/)
    assert.equal(await countItems(), 2)
    assert.match(`${await said(['deliver', PLACE], 'tg_three')}`, /^replaced several items/)
    assert.equal(await countItems(), 1)
    assert.equal(await pythonReads(), 'tg_three')
    await pythonWrites('tg_four')
    assert.equal(await said(['read', ...NAMES]), 'tg_four')
  })

  it('says what is missing to make an item as Python does', async (t) => {
    if (!(await hasKeyring(t))) return
    await clear()
    for (const action of ['check', 'deliver']) {
      const { fault } = await step([action, PLACE], 'tg_one', { PATH: folder })
      assert.match(`${fault}`, /secret-tool is missing; install libsecret's secret-tool/)
    }
    await pythonWrites('tg_old')
    await said(['deliver', PLACE], 'tg_new', { PATH: folder })
    assert.equal(await pythonReads(), 'tg_new')
  })

  it('says that the package is not installed', async (t) => {
    if (!(await hasKeyring(t))) return
    const hooks = `import { registerHooks } from 'node:module'
      registerHooks({ resolve(name, context, next) {
        if (name === '@napi-rs/keyring') throw new Error('not there')
        return next(name, context)
      } })`
    const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(hooks)}`
    const { fault } = await step(['check', PLACE], '', { NODE_OPTIONS })
    assert.match(`${fault}`, /is not installed on this machine; npm install @napi-rs\/keyring/)
  })

  it('says that the keyring is locked, and changes nothing', async (t) => {
    if (!(await hasKeyring(t))) return
    await clear()
    await pythonWrites('tg_old')
    const service = ['--dest=org.freedesktop.secrets', '/org/freedesktop/secrets']
    const collection = '/org/freedesktop/secrets/collection/login'
    const lock = ['org.freedesktop.Secret.Service.Lock', `array:objpath:${collection}`]
    await run('dbus-send', ['--session', '--print-reply', ...service, ...lock], { env })
    for (const args of [
      ['read', ...NAMES],
      ['check', PLACE],
      ['deliver', PLACE],
    ]) {
      const { fault, isTemporary } = await step(args, 'tg_new')
      assert.match(`${fault}`, /: the keyring is locked; log in to the desktop or unlock it/)
      assert.equal(isTemporary, true)
    }
  })
})

describe('keyring:SERVICE/USER without a keyring', () => {
  const address = (value: string) => ({ DBUS_SESSION_BUS_ADDRESS: value })

  it('says that there is no session bus, and what to do', async (t) => {
    if (process.platform !== 'linux') return t.skip('SKIP: only Linux reaches its keyring by a bus')
    for (const bus of ['', `unix:path=${folder}/nothing`]) {
      const { fault, isTemporary } = await step(['deliver', PLACE], 'tg_new', address(bus))
      assert.match(`${fault}`, /there is no session bus .*; .* deliver to a file instead/)
      assert.equal(isTemporary, false)
      assert.match(`${(await step(['read', ...NAMES], '', address(bus))).fault}`, /no session bus/)
    }
  })

  it('says that nobody on the bus offers a keyring', async (t) => {
    if (!hasTools(t, 'dbus-run-session')) return
    const config = join(folder, 'bus.conf')
    await writeFile(
      config,
      `<busconfig><type>session</type><listen>unix:tmpdir=${folder}</listen>
        <policy context="default"><allow send_destination="*" eavesdrop="true"/>
        <allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`,
    )
    const [child, bus] = await startBus(':', `--config-file=${config}`)
    try {
      const { fault } = await step(['check', PLACE], '', address(bus))
      assert.match(`${fault}`, /no program offers a keyring in this session; install and start/)
    } finally {
      await end(child)
    }
  })
})

describe('a keyring place', () => {
  it('has a service and a user', async () => {
    for (const place of ['keyring:service', 'keyring:service/user#part', 'keyring:/user']) {
      const { fault } = await step(['check', place])
      assert.match(`${fault}`, /: an item of a keyring has a service and a user/)
    }
  })
})
