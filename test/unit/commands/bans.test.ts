import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { type Control, ControlError, openControl } from '../../../src/admin/control.ts'
import { runBansCommand } from '../../../src/commands/bans.ts'
import { peerFromAddress } from '../../../src/edge/peer.ts'
import { Bans } from '../../../src/stores/bans.ts'

let dir: string
let stateDir: string
let bans: Bans
let control: Control | undefined

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tg-'))
  stateDir = join(dir, 'state')
  bans = new Bans({
    strikes: 1,
    windowMs: 60_000,
    banMs: 3_600_000,
    exempt: () => false,
    peerOf: peerFromAddress,
  })
})

afterEach(async () => {
  await control?.close()
  control = undefined
  await rm(dir, { recursive: true, force: true })
})

/** The gateway's side; its clock stands at 0. */
async function start(): Promise<void> {
  control = await openControl({
    stateDir,
    bans: {
      list: () => bans.list(0),
      add: (address, ms) => bans.add(address, ms, 0),
      lift: (address) => bans.lift(address, 0),
    },
    tokens: { page: () => [], reload: async () => [] },
  })
}

async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const result = { code: 0, out: '', err: '' }
  const stdout = {
    write: (text: string) => {
      result.out += text
    },
  }
  const stderr = {
    write: (text: string) => {
      result.err += text
    },
  }
  const env = { TOLLGATE_STATE_DIR: stateDir }
  result.code = await runBansCommand(argv, { stdout, stderr, env })
  return result
}

const attacker = { key: '203.0.113.7', address: '203.0.113.7' }

describe('tollgate bans', () => {
  it('lists nobody, then who is banned and by whom', async () => {
    await start()
    assert.deepEqual(await run('list'), { code: 0, out: 'Nobody is banned.\n', err: '' })
    bans.strike(attacker, 0)
    await run('add', '2001:db8::1', '--for', '90m')
    const { code, out } = await run('list')
    assert.equal(code, 0)
    assert.deepEqual(
      out
        .trimEnd()
        .split('\n')
        .map((line) => line.split(/ {2,}/)),
      [
        ['ADDRESS', 'LEFT', 'OF', 'BEFORE', 'BY'],
        ['203.0.113.7', '1h', '1h', '0', 'strikes'],
        ['2001:db8::/64', '1h 30m', '1h 30m', '0', 'hand'],
      ],
    )
  })

  it('lists as JSON', async () => {
    await start()
    bans.strike(attacker, 0)
    assert.deepEqual(JSON.parse((await run('list', '--json')).out), [
      {
        peerKey: '203.0.113.7',
        address: '203.0.113.7',
        remainingMs: 3_600_000,
        lengthMs: 3_600_000,
        repeats: 0,
        isManual: false,
      },
    ])
  })

  it('bans for the time given, or for that of a first ban', async () => {
    await start()
    assert.equal((await run('add', '203.0.113.7')).out, '203.0.113.7 is banned for 1h.\n')
    assert.equal(bans.remainingMs(attacker, 0), 3_600_000)
    const { out } = await run('add', '203.0.113.7', '--for', '30s')
    assert.equal(out, '203.0.113.7 is banned for 30s.\n')
    assert.equal(bans.remainingMs(attacker, 0), 30_000)
  })

  it('lifts a ban by its address or by its key', async () => {
    await start()
    bans.strike(attacker, 0)
    assert.equal((await run('lift', '203.0.113.7')).out, '203.0.113.7 is no longer banned.\n')
    assert.equal(bans.isBanned(attacker, 0), false)
    await run('add', '2001:db8::1')
    const byKey = await run('lift', '2001:db8::/64')
    assert.deepEqual(byKey, { code: 0, out: '2001:db8::/64 is no longer banned.\n', err: '' })
    const again = await run('lift', '203.0.113.7')
    assert.equal(again.code, 0)
    assert.match(again.out, /was not banned/)
  })

  it('says in words when no gateway runs', async () => {
    const { code, out, err } = await run('list')
    assert.equal(code, 69)
    assert.equal(out, '')
    assert.match(
      err,
      /^tollgate bans: no gateway is running with this state directory .*control\.sock/,
    )
  })

  it('takes the state directory from its flag before the environment', async () => {
    await start()
    const elsewhere = join(dir, 'elsewhere')
    const { code, err } = await run('list', '--state-dir', elsewhere)
    assert.equal(code, 69)
    assert.ok(err.includes(join(elsewhere, 'control.sock')))
  })

  for (const argv of [
    ['forget'],
    ['add'],
    ['lift'],
    ['add', 'example.com'],
    ['lift', '203.0.113.0/24'],
    ['add', '203.0.113.7', '--for', '10'],
    ['add', '203.0.113.7', '--for', '0s'],
    ['add', '203.0.113.7', '203.0.113.8'],
    ['lift', '203.0.113.7', '--for', '1h'],
    ['list', '203.0.113.7'],
    ['list', '--jsno'],
  ]) {
    it(`refuses "${argv.join(' ')}" with 64`, async () => {
      await start()
      const { code, out, err } = await run(...argv)
      assert.equal(code, 64)
      assert.equal(out, '')
      assert.match(err, /^tollgate bans: ./)
      assert.deepEqual(bans.list(0), [])
    })
  }

  it('explains itself', async () => {
    const { code, out } = await run('--help')
    assert.equal(code, 0)
    for (const word of ['list', 'add', 'lift', '--for', '--state-dir'])
      assert.ok(out.includes(word))
  })

  it('tells a gateway that does not answer from one that is not there', async () => {
    await start()
    await control?.close()
    control = undefined
    const server = createServer((socket) => socket.end('nonsense'))
    server.listen(join(stateDir, 'control.sock'))
    await once(server, 'listening')
    const { code, err } = await run('list')
    server.close()
    assert.equal(code, 69)
    assert.match(err, /did not answer/)
  })
})

describe('the control socket', () => {
  it('is open to its owner alone, and leaves nothing beside it', async () => {
    await start()
    assert.equal((await stat(join(stateDir, 'control.sock'))).mode & 0o777, 0o600)
    assert.equal((await stat(stateDir)).mode & 0o777, 0o700)
    assert.deepEqual(await readdir(stateDir), ['control.sock'])
    await control?.close()
    control = undefined
    assert.deepEqual(await readdir(stateDir), [])
  })

  it('takes the place of the socket of a gateway that died', async () => {
    await start()
    await control?.close()
    const path = join(stateDir, 'control.sock')
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
    await once(spawn(process.execPath, ['-e', script]), 'exit')
    assert.ok((await stat(path)).isSocket(), 'the dead process left its socket')
    await start()
    assert.equal((await run('list')).code, 0)
  })

  it('is refused to a second gateway, in words, and the first goes on', async () => {
    await start()
    const first = control
    await assert.rejects(start(), (error) => {
      return error instanceof ControlError && /a gateway is already running/.test(error.message)
    })
    control = first
    assert.equal((await run('list')).code, 0)
  })

  it('does not take away a file that is no socket', async () => {
    await start()
    await control?.close()
    control = undefined
    await writeFile(join(stateDir, 'control.sock'), 'mine')
    await assert.rejects(start(), /is in the way/)
    assert.deepEqual(await readdir(stateDir), ['control.sock'])
  })

  it('says that a path is too long instead of cutting it off', async () => {
    stateDir = join(dir, 'x'.repeat(120))
    await assert.rejects(start(), /path is too long: .* expected at most \d+; choose a shorter/)
  })

  it('says when the state directory cannot be made', async () => {
    await writeFile(join(dir, 'file'), '')
    stateDir = join(dir, 'file', 'state')
    await assert.rejects(start(), (error) => {
      return error instanceof ControlError && error.message.includes(stateDir)
    })
  })

  for (const [what, method, path, body, status] of [
    ['another path', 'GET', '/secrets', undefined, 404],
    ['another method', 'PUT', '/bans', '{}', 404],
    ['a body that is not JSON', 'POST', '/bans', '{', 400],
    ['a body without a peer', 'POST', '/bans', '{}', 400],
    ['a length that is not a number', 'POST', '/bans', '{"peer":"203.0.113.7","forMs":"1h"}', 400],
    ['a length of nothing', 'POST', '/bans', '{"peer":"203.0.113.7","forMs":0}', 400],
    ['a field it does not know', 'POST', '/bans', '{"peer":"203.0.113.7","for":"1h"}', 400],
    ['what is not an address', 'DELETE', '/bans/example.com', undefined, 400],
  ] as const) {
    it(`answers ${status} with a sentence to ${what}`, async () => {
      await start()
      const answer = await ask(method, path, body)
      assert.equal(answer.status, status)
      assert.equal(typeof answer.body.error, 'string')
      assert.deepEqual(bans.list(0), [])
    })
  }
})

async function ask(method: string, path: string, body: string | undefined) {
  const headers = { 'content-type': 'application/json' }
  const socketPath = join(stateDir, 'control.sock')
  const call = request({ socketPath, method, path, headers: body === undefined ? {} : headers })
  call.end(body)
  const [response] = await once(call, 'response')
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  return { status: response.statusCode, body: JSON.parse(Buffer.concat(chunks).toString()) }
}
