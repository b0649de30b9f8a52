/** `tollgate rotate` as an operator runs it, beside a gateway with traffic. */
import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../src/stores/token-secret.ts'
import type { Answer, Client } from '../support/client.ts'
import { eventually } from '../support/eventually.ts'
import { startGateway, type TestGateway, TOKEN } from '../support/gateway.ts'
import { runTollgate } from '../support/run-command.ts'

const HOLDER = 'web-shop'
const SHORT = ['--quiet', '1s', '--revoke-after', '1s']

interface Scene {
  readonly gateway: TestGateway
  /** Where the agent takes its token from. */
  readonly tokenFile: string
  readonly auditLog: string
  rotate(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }>
}

async function scene(t: TestContext): Promise<Scene> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-rotate-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const gateway = await startGateway(t, {
    tokens: [
      { token: TOKEN, id: 'old', holder: HOLDER, scopes: ['traces'], labels: { team: 'web' } },
    ],
  })
  const tokenFile = join(folder, 'token')
  const auditLog = join(folder, 'audit.log')
  await writeFile(tokenFile, `${TOKEN}\n`, { mode: 0o600 })
  const env = {
    TOLLGATE_STATE_DIR: gateway.folder,
    TOLLGATE_TOKENS_FILE: gateway.tokensFile,
    TOLLGATE_AUDIT_LOG: auditLog,
  }
  return {
    gateway,
    tokenFile,
    auditLog,
    rotate: (...args) => runTollgate(['rotate', ...args], env),
  }
}

/** An agent that sends one request after the other. */
class Agent {
  readonly answers: Answer[] = []
  readonly #client: Client
  readonly #token: () => Promise<string>
  #isStopped = false
  readonly #work: Promise<void>

  constructor(client: Client, token: () => Promise<string>) {
    this.#client = client
    this.#token = token
    this.#work = this.#run()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#work
  }

  assertNothingLost(): void {
    assert.ok(this.answers.length > 0)
    assert.deepEqual(
      this.answers
        .filter(({ httpStatus }) => httpStatus !== 200)
        .map(({ httpStatus }) => httpStatus),
      [],
    )
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      const token = await this.#token()
      const headers = { 'user-agent': 'OTel-OTLP-Exporter-Python/1.30.0' }
      this.answers.push(await this.#client.send({ token, headers }))
      await new Promise((resume) => setTimeout(resume, 10))
    }
  }
}

test('a rotation from its beginning to its end loses nothing and says so', async (t) => {
  const { gateway, tokenFile, auditLog, rotate } = await scene(t)
  const deliver = ['--deliver', `file:${tokenFile}`]
  const follows = new Agent(gateway.connect('HTTP/1.1'), async () =>
    (await readFile(tokenFile, 'utf8')).trim(),
  )
  const stays = new Agent(gateway.connect('gRPC'), async () => TOKEN)

  const tried = await rotate(...deliver, '--dry-run')
  assert.equal(tried.code, 0, tried.stderr)
  assert.match(
    tried.stdout,
    /a run would make a token like old, .* and retire old\n {2}ok .*knows the present token old/,
  )
  assert.match(tried.stdout, /ok {3}file:.*would replace/)
  assert.equal((await readFile(tokenFile, 'utf8')).trim(), TOKEN)

  const begun = await rotate(...deliver, ...SHORT)
  assert.equal(begun.code, 0, begun.stderr)
  const steps = [
    /new token \w{8} made/,
    /read back/,
    /accepted by the one gateway/,
    /wrote the token to/,
    /is retiring/,
    /waiting: /,
  ]
  for (const step of steps) assert.match(begun.stdout, step)
  const token = (await readFile(tokenFile, 'utf8')).trim()
  assert.notEqual(token, TOKEN)
  assert.equal((await stat(tokenFile)).mode & 0o777, 0o600)

  // One that stays with the old token holds the rotation back, and is named.
  await eventually(async () => {
    const { code, stdout } = await rotate('status')
    assert.equal(code, 0)
    return /new token {2}first used .*\n {2}old token {2}old: last used .* from 127\.0\.0\.1 with Python 1\.30\.0 \(grpc, traces\); [1-9]\d* requests/.test(
      stdout,
    )
  }, 'who uses the old token')
  for (let run = 0; run < 3; run += 1) {
    const held = await rotate(...deliver, ...SHORT)
    assert.equal(held.code, 0, held.stderr)
    assert.match(held.stdout, /waiting: old token old: last used/)
  }
  assert.equal(saw(await gateway.connect('HTTP/1.1').send({ token: TOKEN })), 200)

  await stays.stop()
  const over = await rotate(...deliver, ...SHORT, '--wait')
  assert.equal(over.code, 0, over.stderr)
  assert.match(over.stdout, /old token old is refused: nobody has used it for \ds/)
  assert.match(over.stdout, /old token old is revoked/)
  await follows.stop()
  follows.assertNothingLost()
  stays.assertNothingLost()
  assert.ok(follows.answers.length > 10)
  assert.equal(saw(await gateway.connect('HTTP/1.1').send({ token: TOKEN })), 401)
  assert.equal(saw(await gateway.connect('HTTP/1.1').send({ token })), 200)

  const { tokens } = JSON.parse(await readFile(gateway.tokensFile, 'utf8'))
  assert.deepEqual(
    tokens.map(({ holder }: { holder: string }) => holder),
    [HOLDER, HOLDER],
  )
  assert.deepEqual([tokens[1].scopes, tokens[1].labels], [['traces'], { team: 'web' }])
  assert.equal(tokens[0].replacedBy, tokens[1].id)
  const lines = (await readFile(auditLog, 'utf8')).trimEnd().split('\n')
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).reason),
    ['created', 'published', 'accepted', 'delivered', 'retiring', 'refused', 'revoked', 'finished'],
  )
  assert.match(
    (await rotate('history')).stdout,
    new RegExp(`web-shop: from old to ${tokens[1].id}, finished after`),
  )
  assert.equal((await rotate('status')).stdout, 'No rotation is under way.')
  assert.deepEqual(await readdir(join(gateway.folder, 'rotations')), ['history.json'])
  const written =
    [begun, over].map(({ stdout, stderr }) => stdout + stderr).join('') + lines.join('')
  assert.equal(written.includes(token), false, 'the token is shown nowhere')

  // Another run begins nothing before its time.
  const early = await rotate(...deliver, '--every', '30d')
  assert.deepEqual([early.code, early.stderr], [0, ''])
  assert.match(early.stdout, /is not due before .*; nothing to do/)
})

test('nothing begins where it could not end', async (t) => {
  const { gateway, tokenFile, rotate } = await scene(t)
  const before = await readFile(gateway.tokensFile, 'utf8')
  const cases: [string[], number, RegExp][] = [
    [
      ['--deliver', `file:${tokenFile}/token`],
      69,
      /not begun, and nothing changed: .*part of the path is a file/,
    ],
    [
      ['--deliver', `file:${tokenFile}`, '--gateway', 'http://127.0.0.1:1'],
      69,
      /gateway http:\/\/127\.0\.0\.1:1 cannot be asked/,
    ],
    [['--deliver', tokenFile], 64, /expected a place such as .*; a file is written file:/],
    [
      ['--deliver', `file:${tokenFile}`, '--holder', 'web-shp'],
      64,
      /has no token of that name; did you mean "web-shop"\?/,
    ],
    [
      ['--deliver', `file:${tokenFile}`, '--quiet', '40d'],
      64,
      /--deadline is not longer than --quiet/,
    ],
    [
      ['--deliver', `file:${tokenFile}`, '--quite', '1h'],
      64,
      /--quite: unknown option; did you mean --quiet\?/,
    ],
    [
      ['--deliver', `file:${tokenFile}`, '--quiet', '24'],
      64,
      /--quiet "24": expected a duration with its unit/,
    ],
    [[], 64, /--deliver is missing/],
    [['--deliver', `file:${tokenFile}`, '--truth', `file:${tokenFile}`], 65, /is not JSON/],
    [['abort'], 65, /no rotation is under way/],
  ]
  for (const [args, expected, words] of cases) {
    const { code, stderr } = await rotate(...args)
    assert.match(stderr, words)
    assert.equal(code, expected, stderr)
  }
  assert.equal(await readFile(gateway.tokensFile, 'utf8'), before)
  assert.equal((await readFile(tokenFile, 'utf8')).trim(), TOKEN)
})

test('a gateway that takes its tokens elsewhere is noticed before anything is made', async (t) => {
  const { gateway, tokenFile, rotate } = await scene(t)
  const truth = join(gateway.folder, 'another.json')
  await writeFile(truth, (await readFile(gateway.tokensFile, 'utf8')).replace('"old"', '"another"'))
  const { code, stderr } = await rotate(
    '--deliver',
    `file:${tokenFile}`,
    '--truth',
    `file:${truth}`,
  )
  assert.equal(code, 69)
  assert.match(
    stderr,
    /does not know the present token another, so it does not take its tokens from file:.*another\.json, but from file:.*test-tokens\.json/,
  )
})

test('going back, before and after somebody has the new token', async (t) => {
  const { gateway, tokenFile, rotate } = await scene(t)
  const deliver = ['--deliver', `file:${tokenFile}`]
  const before = await readFile(gateway.tokensFile, 'utf8')
  assert.equal((await rotate(...deliver)).code, 0)
  const refused = await rotate('abort')
  assert.equal(refused.code, 65)
  assert.match(
    refused.stderr,
    /web-shop: not gone back, .*: file:.* has the new token \w{8} already\. With --keep/,
  )
  const kept = await rotate('abort', '--keep')
  assert.equal(kept.code, 0, kept.stderr)
  const { tokens } = JSON.parse(await readFile(gateway.tokensFile, 'utf8'))
  assert.deepEqual(tokens[0], JSON.parse(before).tokens[0])
  const token = (await readFile(tokenFile, 'utf8')).trim()
  const client = gateway.connect('HTTP/1.1')
  assert.equal(saw(await client.send({ token: TOKEN })), 200)
  assert.equal(saw(await client.send({ token })), 200)

  assert.equal((await rotate(...deliver)).code, 0)
  const forced = await rotate('abort', '--force')
  assert.equal(forced.code, 0, forced.stderr)
  const last = (await readFile(tokenFile, 'utf8')).trim()
  assert.equal(saw(await client.send({ token: last })), 401)
  assert.equal(saw(await client.send({ token: TOKEN })), 200)
  assert.match((await rotate('history')).stdout, /aborted after .*\n.*aborted after/)
})

test('a place that is in the way stops the rotation, which goes on when it is not', async (t) => {
  const { gateway, tokenFile, rotate } = await scene(t)
  const program = join(gateway.folder, 'push')
  const script = (end: string) => `#!/bin/sh\ncat > "${gateway.folder}/pushed"\n${end}\n`
  await writeFile(program, script('echo "no such host" >&2; exit 1'), { mode: 0o755 })
  const args = ['--deliver', `file:${tokenFile}`, '--deliver', `exec:${program}`]
  const stopped = await rotate(...args)
  assert.equal(stopped.code, 65)
  assert.match(stopped.stderr, /exec:.*push: .* ended with status 1; it said: no such host/)
  assert.match((await rotate('status')).stdout, /problem {4}exec:.*push/)
  assert.doesNotMatch(await readFile(gateway.tokensFile, 'utf8'), /retiringAt/)
  await writeFile(program, script('echo done'))
  const other = await rotate(...args, '--quiet', '2h')
  assert.equal(other.code, 0, other.stderr)
  assert.match(other.stderr, /the rotation under way keeps the --quiet that it began with/)
  assert.match(other.stdout, /exec:.*push: done/)
  assert.equal(
    await readFile(join(gateway.folder, 'pushed'), 'utf8'),
    await readFile(tokenFile, 'utf8'),
  )
})

test('a gateway that takes nothing up is waited for once, and holds up nobody who does not need it', async (t) => {
  const { gateway, rotate } = await scene(t)
  // Its admin port tells the tokens of the start for ever.
  const page = await (await fetch(`http://${gateway.addresses.admin}/tokens`)).text()
  const frozen = createServer((_request, response) => response.end(page))
  await new Promise<void>((resolve) => frozen.listen(0, '127.0.0.1', resolve))
  t.after(() => frozen.close())
  const { port } = frozen.address() as AddressInfo
  const place = ['--deliver', `file:${gateway.folder}/agents/{holder}.token`, '--every', '1d']
  const stuck = await rotate(
    ...place,
    '--gateway',
    `http://127.0.0.1:${port}`,
    '--accept-within',
    '1s',
  )
  assert.equal(stuck.code, 75)
  assert.match(
    stuck.stderr,
    /the gateway http:\/\/127\.0\.0\.1:\d+ does not have the token \w{8} yet/,
  )
  const { tokens } = JSON.parse(await readFile(gateway.tokensFile, 'utf8'))
  const other = { id: 'other', holder: 'other', sha256: digestOf('a-token-of-another-holder') }
  await writeFile(gateway.tokensFile, JSON.stringify({ tokens: [...tokens, other] }))
  await gateway.reload()
  const both = await rotate(...place, '--all', '--json')
  assert.equal(both.code, 75)
  const { rotations } = JSON.parse(both.stdout)
  assert.deepEqual(
    rotations.map(({ holder, kind }: Record<string, string>) => [holder, kind]),
    [
      [HOLDER, 'stopped'],
      ['other', 'waiting'],
    ],
  )
})

test('tokens that are made and revoked meanwhile are not lost', async (t) => {
  const { gateway, tokenFile, rotate } = await scene(t)
  const env = { TOLLGATE_STATE_DIR: gateway.folder, TOLLGATE_TOKENS_FILE: gateway.tokensFile }
  const names = ['a', 'b', 'c', 'd', 'e']
  const [rotated, ...created] = await Promise.all([
    rotate('--deliver', `file:${tokenFile}`, '--holder', HOLDER),
    ...names.map((name) => runTollgate(['token', 'create', '--holder', name], env)),
  ])
  for (const { code, stderr } of [rotated, ...created]) assert.equal(code, 0, stderr)
  const { tokens } = JSON.parse(await readFile(gateway.tokensFile, 'utf8'))
  const holders = tokens.map(({ holder }: { holder: string }) => holder)
  assert.deepEqual(holders.toSorted(), [...names, HOLDER, HOLDER].toSorted())
})

test('a run that waits ends when another one goes back', async (t) => {
  const { tokenFile, rotate } = await scene(t)
  const args = ['--deliver', `file:${tokenFile}`, '--every', '1d']
  assert.equal((await rotate(...args)).code, 0)
  const waiting = rotate(...args, '--wait')
  await eventually(async () => (await rotate('abort', '--keep')).code === 0, 'the lock free')
  const { code, stdout, stderr } = await waiting
  assert.equal(code, 0, stderr)
  assert.match(stdout, /another run has ended the rotation|is not due before/)
})

test('the tokens of all holders, each to its own place', async (t) => {
  const { gateway, tokenFile, rotate } = await scene(t)
  await gateway.writeTokens([
    { token: TOKEN, id: 'old', holder: HOLDER },
    { token: 'the-token-of-the-database-0123456789', id: 'db', holder: 'The Database' },
  ])
  await gateway.reload()
  const several = await rotate('--deliver', `file:${tokenFile}`)
  assert.equal(several.code, 64)
  assert.match(several.stderr, /2 holders have tokens \("web-shop", "The Database"\)/)
  const shared = await rotate('--all', '--deliver', `file:${tokenFile}`)
  assert.equal(shared.code, 64)
  assert.match(shared.stderr, /write \{holder\} where their names go/)
  const all = await rotate(
    '--all',
    '--deliver',
    `file:${gateway.folder}/agents/{holder}.token`,
    '--json',
  )
  assert.equal(all.code, 0, all.stderr)
  const { rotations } = JSON.parse(all.stdout)
  assert.deepEqual(
    rotations.map(({ holder, kind }: Record<string, string>) => [holder, kind]),
    [
      [HOLDER, 'waiting'],
      ['The Database', 'waiting'],
    ],
  )
  assert.deepEqual((await readdir(join(gateway.folder, 'agents'))).length, 2)
  const status = JSON.parse((await rotate('status', '--json')).stdout)
  assert.equal(status.rotations.length, 2)
  assert.equal(JSON.stringify(status).includes('sha256'), false)
})

function saw({ httpStatus }: Answer): number {
  return httpStatus
}
