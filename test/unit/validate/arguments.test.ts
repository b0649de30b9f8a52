/** What the command line lets be done to a server, and to whose. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { readArguments, USAGE, UsageError } from '../../../docker/validate/arguments.ts'
import { serverTarget } from '../../../docker/validate/server.ts'
import { CHECKS, chosen, obstacleTo, runChecks } from '../../../docker/validate/suite.ts'
import type { Target } from '../../../docker/validate/target.ts'

const folder = mkdtempSync(join(tmpdir(), 'tollgate-validate-arguments-'))
after(() => rmSync(folder, { recursive: true }))
const tokenFile = join(folder, 'token')
writeFileSync(tokenFile, 'tg_abc\n')
const SERVER = ['--host', 'localhost', '--connect', '127.0.0.1', '--token-file', tokenFile]

/** Names of checks that would run, tools aside. */
async function allowed(...args: string[]): Promise<readonly string[]> {
  const wish = readArguments([...SERVER, ...args])
  assert.ok(wish !== undefined && wish.where.mode !== 'bare')
  const target: Target = { ...(await serverTarget(wish.where.server)), mode: wish.where.mode }
  return CHECKS.filter(
    (check) => obstacleTo({ ...check, programs: [] }, target, wish.leave) === undefined,
  ).map(({ name }) => name)
}

const HANDFUL = ['reach', 'tls', 'answers', 'arrival', 'resources', 'backup', 'accounts']
const without = (...names: string[]) =>
  CHECKS.map(({ name }) => name).filter((name) => !names.includes(name))

test('a server gets a handful of requests and no more, unless its owner says so', async () => {
  assert.deepEqual(await allowed(), HANDFUL)
  assert.deepEqual(await allowed('--polite'), HANDFUL)
  const own = '--i-own-this-server'
  assert.deepEqual(await allowed(own), without('rate', 'load', 'brute force'))
  assert.deepEqual(await allowed(own, '--full'), without('brute force'))
  assert.deepEqual(await allowed(own, '--ban-me'), without('rate', 'load'))
  assert.deepEqual(await allowed(own, '--full', '--ban-me'), without())
})

test('the stack on this machine gets everything, and politely no load and no ban', async () => {
  assert.deepEqual(await allowed('--stack'), without())
  assert.deepEqual(await allowed('--stack', '--polite'), without('rate', 'load', 'brute force'))
})

test('load, a ban or all ports without saying that the server is one’s own is refused', () => {
  for (const flag of ['--full', '--ban-me', '--all-ports'])
    assert.throws(() => readArguments([...SERVER, flag]), /--i-own-this-server/)
})

test('mistakes are named, with what was expected', () => {
  const bad: readonly (readonly [string[], RegExp])[] = [
    [[], /--host is missing/],
    [['--host', 'https://x'], /--host "https:\/\/x": expected a name/],
    [['--host', 'x'], /--token-file is missing/],
    [['--host', 'x', '--token-file', '/nowhere'], /--token-file \/nowhere: cannot be read/],
    [[...SERVER, '--rate', '100'], /--rate "100": expected a rate/],
    [[...SERVER, '--grpc-port', '70000'], /--grpc-port "70000": expected/],
    [[...SERVER, '--only', 'port'], /there is no check "port": expected one of reach/],
    [[...SERVER, '--admin', 'localhost:9464'], /--admin "localhost:9464": expected http/],
    [[...SERVER, '--ca', tokenFile], /--ca .*: expected PEM/],
    [[...SERVER, '--unknown'], /--unknown/],
    [['--bare', '--stack'], /exclude each other/],
    [['--bare', '--host', 'x'], /--host is of a server/],
  ]
  for (const [args, message] of bad)
    assert.throws(
      () => readArguments(args),
      (error) => error instanceof UsageError && message.test(error.message),
      args.join(' '),
    )
})

test('a file with more than a token is not shown', () => {
  const file = join(folder, 'two')
  writeFileSync(file, 'tg_first\ntg_second\n')
  assert.throws(
    () => readArguments(['--host', 'x', '--token-file', file]),
    (error) => error instanceof UsageError && !error.message.includes('tg_'),
  )
})

test('the help names every check', () => {
  assert.equal(readArguments(['--help']), undefined)
  for (const { name } of CHECKS) assert.ok(USAGE.includes(name), name)
})

test('checks can be chosen and left out', () => {
  const names = (choice: Parameters<typeof chosen>[0]) => chosen(choice).map(({ name }) => name)
  assert.deepEqual(names({ only: ['tls', 'ports'], skip: [] }), ['tls', 'ports'])
  assert.deepEqual(names({ only: [], skip: HANDFUL }).includes('tls'), false)
})

test('a check that throws or does not come to an end is a failure, and no pass', async () => {
  const wish = readArguments([...SERVER, '--only', 'tls'])
  assert.ok(wish?.where.mode === 'server')
  const target = await serverTarget(wish.where.server)
  const check = { name: 'tls', effort: 'handful', programs: [], plan: () => '' } as const
  const broken = {
    ...{ ...check, limitSeconds: 5 },
    run: () => Promise.reject(new Error('no such thing')),
  }
  const endless = { ...check, limitSeconds: 0.05, run: () => new Promise<never>(() => {}) }
  const rows = await runChecks([broken, endless], target, wish.leave)
  assert.deepEqual(
    rows.map(({ status, figure }) => [status, figure]),
    [
      ['fail', 'no such thing'],
      ['fail', 'not done after 0.05 s'],
    ],
  )
})
