/** Tokens on their way to files and programs of this machine. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Delivery } from '../../src/secrets/delivery.ts'
import { type DeliverySettings, openDelivery } from '../../src/secrets/open-delivery.ts'
import { parsePlace } from '../../src/secrets/place.ts'
import { eventually } from '../support/eventually.ts'

const run = promisify(execFile)
const TOKEN = 'tg_k7_abcdefghijklmnop'
const NEW = { id: 'k7', holder: 'shop', token: TOKEN }

let dir: string
let path: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'deliveries-'))
  path = join(dir, 'agent')
})

afterEach(() => rm(dir, { recursive: true, force: true }))

async function open(text: string, settings: DeliverySettings = { timeoutMs: 10_000 }) {
  const place = parsePlace(text)
  assert.ok(place)
  return await openDelivery(place, settings)
}

const modeOf = async (name: string) => (await stat(name)).mode & 0o777

describe('file:PATH', () => {
  it('holds the token alone, for its owner only, and the next one in its place', async () => {
    const delivery = await open(`file:${path}`)
    assert.equal(await delivery.check(), `would make ${path} with the token alone`)
    assert.deepEqual(await readdir(dir), [])
    assert.equal(await delivery.deliver(NEW), `wrote the token to ${path}`)
    assert.equal(await readFile(path, 'utf8'), `${TOKEN}\n`)
    assert.equal(await modeOf(path), 0o600)
    assert.equal(await delivery.check(), `would replace ${path} with the token alone`)
    await delivery.deliver({ ...NEW, token: 'tg_k8_second' })
    await delivery.deliver({ ...NEW, token: 'tg_k8_second' })
    assert.equal(await readFile(path, 'utf8'), 'tg_k8_second\n')
    assert.deepEqual(await readdir(dir), ['agent'])
  })

  it('does not replace a file that holds more than a token', async () => {
    for (const text of ['A=1\nB=2\n', 'TOKEN=tg_old\n', 'two words']) {
      await writeFile(path, text)
      const delivery = await open(`file:${path}`)
      const problem = {
        name: 'SourceFault',
        message:
          /holds more than a token, and all of it would be replaced; name the variable to change behind a # \(…#NAME\)/,
      }
      await assert.rejects(delivery.check(), problem)
      await assert.rejects(delivery.deliver(NEW), problem)
      assert.equal(await readFile(path, 'utf8'), text)
    }
  })

  it('keeps permissions, and says so when they are too wide', async () => {
    await writeFile(path, 'tg_old\n')
    await chmod(path, 0o644)
    const delivery = await open(`file:${path}`)
    assert.match(await delivery.check(), /everybody on this machine can read, mode 644: chmod 600/)
    assert.match(await delivery.deliver(NEW), /everybody on this machine can read/)
    assert.equal(await modeOf(path), 0o644)
  })

  it('says what is wrong with the path before it writes', async () => {
    await assert.rejects((await open(`file:${dir}`)).check(), /is not a regular file/)
    await assert.rejects(
      (await open(`file:${join(dir, 'a', 'b', 'c')}`)).check(),
      /^FileFault: cannot write .*: no such file or directory$/,
    )
  })

  it('does not write into a file that is mounted by itself, and says why before', async (t) => {
    await writeFile(path, 'A=1\n')
    try {
      await run('mount', ['--bind', path, path])
    } catch (error) {
      if (process.env.CI === 'true') throw error
      return t.skip('SKIP: only root may mount a file')
    }
    try {
      const delivery = await open(`file:${path}#TOKEN`)
      const fault = { name: 'FileFault', code: 'EBUSY', message: /mount its directory instead/ }
      await assert.rejects(delivery.check(), fault)
      await assert.rejects(delivery.deliver(NEW), fault)
      assert.equal(await readFile(path, 'utf8'), 'A=1\n')
    } finally {
      await run('umount', [path])
    }
  })
})

describe('file:PATH#NAME', () => {
  it('changes one line and keeps every other byte', async () => {
    const before = '# mine\r\nA="x\r\nTOKEN=inside"\r\nexport TOKEN=\'old\' # here\r\nB=1'
    await writeFile(path, before)
    const delivery = await open(`file:${path}#TOKEN`)
    assert.equal(
      await delivery.check(),
      `would replace TOKEN in ${path} (which everybody on this machine can read, mode 644: chmod 600)`,
    )
    assert.equal(await readFile(path, 'utf8'), before)
    assert.match(await delivery.deliver(NEW), /^wrote TOKEN to .*; agents read it when they start/)
    assert.equal(await readFile(path, 'utf8'), before.replace("'old'", `'${TOKEN}'`))
  })

  it('makes the file where there is none', async () => {
    const delivery = await open(`file:${path}#TOKEN`)
    assert.equal(await delivery.check(), `would add TOKEN in ${path}`)
    await delivery.deliver(NEW)
    assert.equal(await readFile(path, 'utf8'), `TOKEN=${TOKEN}\n`)
    assert.equal(await modeOf(path), 0o600)
  })

  it('writes headers as exporters read them, beside those that are there', async () => {
    await writeFile(path, 'OTEL_EXPORTER_OTLP_HEADERS=x-tenant=a,authorization=Bearer%20old\n')
    const delivery = await open(`file:${path}#OTEL_EXPORTER_OTLP_HEADERS`)
    assert.match(await delivery.check(), /^would replace the Authorization in OTEL_EXPORTER/)
    await delivery.deliver(NEW)
    assert.equal(
      await readFile(path, 'utf8'),
      `OTEL_EXPORTER_OTLP_HEADERS=x-tenant=a,Authorization=Bearer%20${TOKEN}\n`,
    )
  })

  it('changes the line that counts when there are several, and tells', async () => {
    await writeFile(path, 'TOKEN=a\nTOKEN=b\n')
    const delivery = await open(`file:${path}#TOKEN`)
    assert.match(await delivery.check(), /2 lines set it, and the last one counts: remove/)
    assert.match(await delivery.deliver(NEW), /2 lines set it/)
    assert.equal(await readFile(path, 'utf8'), `TOKEN=a\nTOKEN=${TOKEN}\n`)
  })

  it('refuses a name that is none', async () => {
    await assert.rejects(open(`file:${path}#A-B`), /"A-B" is no name of a variable/)
  })
})

describe('exec:PATH', () => {
  const script = async (...lines: string[]): Promise<string> => {
    await writeFile(path, ['#!/bin/sh', ...lines, ''].join('\n'), { mode: 0o755 })
    return `exec:${path}`
  }
  const deliverFails = async (delivery: Delivery, message: RegExp, isTemporary = false) => {
    await assert.rejects(delivery.deliver(NEW), { name: 'SourceFault', isTemporary, message })
    await delivery.close()
  }

  it('gives the token on standard input alone, and shows the first line', async () => {
    process.env.TOLLGATE_TEST_CREDENTIAL = 'x'
    const delivery = await open(
      await script(
        `cat > ${dir}/stdin`,
        `env > ${dir}/env`,
        `echo "$# $TOLLGATE_TOKEN_ID $TOLLGATE_HOLDER"`,
        'echo more',
      ),
    )
    assert.match(await delivery.check(), /^would run .* with the token on its standard input$/)
    assert.deepEqual(await readdir(dir), ['agent'])
    assert.equal(await delivery.deliver(NEW), '0 k7 shop')
    assert.equal(await readFile(join(dir, 'stdin'), 'utf8'), `${TOKEN}\n`)
    const env = await readFile(join(dir, 'env'), 'utf8')
    delete process.env.TOLLGATE_TEST_CREDENTIAL
    assert.doesNotMatch(env, /TOLLGATE_TEST_CREDENTIAL|tg_k7/)
  })

  it('blanks tokens in what the program says', async () => {
    const good = await open(
      await script('read -r token; echo "$(printf %s "$token" | base64) $token"'),
    )
    assert.equal(await good.deliver(NEW), '[token] [token]')
    const bad = await open(await script('read -r token; echo "no $token" >&2; exit 3'))
    await deliverFails(
      bad,
      /: .*agent ended with status 3; it said: no \[token\]; the token counts as not delivered/,
    )
  })

  it('says so when the program says nothing, or does not read', async () => {
    const delivery = await open(await script('exit 0'))
    assert.match(
      await delivery.deliver({ ...NEW, token: 'x'.repeat(200_000) }),
      /ended well, and said nothing/,
    )
    await deliverFails(await open(await script('exit 1')), /status 1; it said nothing on its/)
  })

  it('keeps the first line of much output, and the end of many complaints', async () => {
    const much =
      'i=0; while [ $i -lt 3000 ]; do echo "line $i ...................................."; i=$((i+1)); done'
    assert.match(await (await open(await script(much))).deliver(NEW), /^line 0 \.+$/)
    await deliverFails(
      await open(await script(`(${much}) >&2; exit 1`)),
      /it said: ….*line 2999 \.+;/,
    )
  })

  it('tells what is missing, not executable, or no program', async () => {
    await assert.rejects(
      (await open(`exec:${path}`)).check(),
      /cannot find .* \(ENOENT\); write the path/,
    )
    await assert.rejects((await open(`exec:${dir}`)).check(), /is not a file/)
    await writeFile(path, 'echo', { mode: 0o600 })
    await assert.rejects((await open(`exec:${path}`)).check(), /is not executable; chmod \+x/)
    await writeFile(path, '#!/no/such/shell\n')
    await chmod(path, 0o755)
    await deliverFails(await open(`exec:${path}`), /names in its first line is missing/)
    await assert.rejects(open(`exec:${path}#part`), /no part behind a #/)
  })

  it('tells of a program that was killed', async () => {
    await deliverFails(await open(await script('kill -KILL $$')), /was killed by SIGKILL/)
  })

  it('ends a program that takes too long, and all that it started', async (t) => {
    const started = join(dir, 'started')
    const text = await script(
      "trap '' TERM",
      'echo here >&2',
      'sleep 600 &',
      `echo $! > ${dir}/child && mv ${dir}/child ${started}`,
      'wait',
    )
    const delivery = await open(text, { timeoutMs: 60_000 })
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const outcome = deliverFails(
      delivery,
      /was ended after 60 s without result; it said: here; make it quicker/,
      true,
    )
    while (!existsSync(started)) await nextTurn()
    t.mock.timers.tick(60_000)
    // It takes no notice of being asked to end.
    t.mock.timers.tick(2000)
    await outcome
    t.mock.timers.reset()
    const child = Number(await readFile(started, 'utf8'))
    await eventually(async () => !(await isRunning(child)), 'the end of what the program started')
  })

  it('takes no success from a program that was asked to end', async (t) => {
    const started = join(dir, 'started')
    const text = await script("trap 'exit 0' TERM", `: > ${started}`, 'while :; do sleep 0.1; done')
    const delivery = await open(text, { timeoutMs: 60_000 })
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const outcome = deliverFails(delivery, /was ended after 60 s without result/, true)
    while (!existsSync(started)) await nextTurn()
    t.mock.timers.tick(60_000)
    await outcome
  })

  it('does not wait for what a program leaves behind', async () => {
    const delivery = await open(await script('sleep 600 & echo $!'))
    const child = Number(await delivery.deliver(NEW))
    process.kill(child)
  })
})

describe('openDelivery', () => {
  it('says where nothing can be delivered', async () => {
    await assert.rejects(open('env'), /env: tokens cannot be delivered there; deliver to file:/)
  })
})

/** A process that has ended stays in the table until somebody asks for its status. */
async function isRunning(pid: number): Promise<boolean> {
  const { stdout } = await run('ps', ['-o', 'stat=', '-p', `${pid}`]).catch(() => ({ stdout: '' }))
  return stdout !== '' && !stdout.startsWith('Z')
}
