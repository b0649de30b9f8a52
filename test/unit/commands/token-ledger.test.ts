/** The token commands beside a gateway: what they learn from it, and what they make it do. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { type Control, openControl } from '../../../src/admin/control.ts'
import { runTokenCommand } from '../../../src/commands/token.ts'
import { keepLedger } from '../../../src/stores/ledger-file.ts'
import { pagePieces } from '../../../src/stores/token-page.ts'
import { parseTokenSet } from '../../../src/stores/token-set.ts'
import { TokenStore } from '../../../src/stores/tokens.ts'
import { arrival, bearer, setOf, UNLIMITED } from '../stores/token-fixtures.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

let dir: string
let path: string
let store: TokenStore
let control: Control | undefined

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'token-ledger-'))
  path = join(dir, 'tokens.json')
  store = new TokenStore({ defaultLimits: UNLIMITED })
  await writeTokens('old', 'new', 'silent')
  await reload()
})

afterEach(async () => {
  await control?.close()
  control = undefined
  await rm(dir, { recursive: true, force: true })
})

async function writeTokens(...ids: string[]): Promise<void> {
  const tokens = setOf(...ids.map((id) => ({ id, holder: 'h' }))).records
  await writeFile(path, JSON.stringify({ tokens }))
}

async function reload(): Promise<void> {
  store.swap(parseTokenSet(await readFile(path, 'utf8'), path))
}

/** A request so long ago. */
function used(id: string, agoMs: number): void {
  const from = arrival({ authorization: bearer(id) })
  const token = store.verify(bearer(id), from.peer, Date.now())
  if (typeof token === 'string' || !('holder' in token)) assert.fail(`${id} is not accepted`)
  store.used(token, from, Date.now() - agoMs)
}

/** A gateway with these tokens; its file may be one that the commands do not know. */
async function start(onReload: () => Promise<void> = reload): Promise<void> {
  control = await openControl({
    stateDir: dir,
    bans: { list: () => [], add: () => undefined, lift: () => undefined },
    tokens: {
      page: () => pagePieces([], store.statuses(Date.now())),
      reload: async () => {
        await onReload()
        return []
      },
    },
  })
}

/** What a gateway leaves behind when it stops. */
async function leaveLedger(): Promise<void> {
  const clock = { nowMs: () => performance.now(), wallMs: () => Date.now() }
  const options = { path: join(dir, 'ledger.json'), clock, onEvent: () => {} }
  await (await keepLedger(options, store)).close()
}

async function run(...argv: string[]) {
  let out = ''
  let err = ''
  const code = await runTokenCommand(argv, {
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (err += text) },
    stdin: Readable.from([]),
    env: { TOLLGATE_TOKENS_FILE: path, TOLLGATE_STATE_DIR: dir },
  })
  return { code, out, err }
}

describe('token list', () => {
  for (const [what, prepare] of [
    ['a running gateway', start],
    ['the ledger that one left', leaveLedger],
  ] as const) {
    it(`shows the last use of each token, from ${what}`, async () => {
      used('old', 3 * HOUR_MS)
      used('new', 5000)
      await prepare()
      const { code, out, err } = await run('list')
      assert.equal(code, 0, err)
      assert.equal(err, '')
      assert.match(out, /^old .* current .* 3h( 1s)? ago +203\.0\.113\.7 +Python 1\.40\.0 +never$/m)
      assert.match(out, /^new .* current .* [5-9]s ago/m)
      assert.match(out, /^silent .* pending .* never +- +- +never$/m)
      const { tokens } = JSON.parse((await run('list', '--json')).out)
      assert.deepEqual(
        tokens.map(({ requests, lastUse }: { requests: number; lastUse: unknown }) => [
          requests,
          lastUse !== null,
        ]),
        [
          [1, true],
          [1, true],
          [0, false],
        ],
      )
    })
  }

  it('shows with --stale what was not used for so long, or never', async () => {
    used('old', 8 * DAY_MS)
    used('new', 6 * DAY_MS)
    await start()
    const ids = async (stale: string) => {
      const { out } = await run('list', '--json', '--stale', stale)
      return JSON.parse(out).tokens.map(({ id }: { id: string }) => id)
    }
    assert.deepEqual(await ids('7d'), ['old', 'silent'])
    assert.deepEqual(await ids('5d'), ['old', 'new', 'silent'])
    const { code, err } = await run('list', '--stale', 'long')
    assert.equal(code, 64)
    assert.match(err, /--stale: "long" is not a time; expected a duration/)
  })

  it('shows the tokens that are in force, and a file where it is named', async () => {
    await start()
    await writeTokens('old', 'later')
    assert.doesNotMatch((await run('list')).out, /^later/m)
    assert.match((await run('list', '--file', path)).out, /^later/m)
  })

  it('says so where the ledger cannot be read, and shows the file', async () => {
    await writeFile(join(dir, 'ledger.json'), '{')
    const { code, out, err } = await run('list')
    assert.equal(code, 0)
    assert.match(err, /ledger\.json: cannot be read, so nothing is known of their use/)
    assert.match(out, /^old/m)
  })
})

describe('token revoke --now', () => {
  it('has the gateway read its tokens, and says that the token is refused', async () => {
    await start()
    const { code, err } = await run('revoke', 'old', '--now')
    assert.equal(code, 0, err)
    assert.match(err, /The running gateway refuses it\./)
    assert.equal(store.verify(bearer('old'), arrival().peer, Date.now()), 'token_expired')
    const again = await run('revoke', 'old', '--now', '--json')
    assert.equal(JSON.parse(again.out).isRefused, true)
  })

  it('ends with 69 where the gateway still accepts it', async () => {
    await start(async () => {})
    const { code, err } = await run('revoke', 'old', '--now')
    assert.equal(code, 69)
    assert.match(err, /The running gateway still accepts it/)
  })

  it('ends with 69 where no gateway runs; the token is revoked in the file', async () => {
    const { code, err } = await run('revoke', 'old', '--now')
    assert.equal(code, 69)
    assert.match(err, /is revoked since .*\n.*not known: no gateway is running/)
    assert.match(await readFile(path, 'utf8'), /revokedAt/)
  })

  it('asks nobody without --now', async () => {
    assert.equal((await run('revoke', 'old')).code, 0)
  })
})

describe('token remove', () => {
  const idsIn = async () =>
    parseTokenSet(await readFile(path, 'utf8'), path).records.map(({ id }) => id)

  it('takes a token out of the file', async () => {
    const { code, err } = await run('remove', 'old')
    assert.equal(code, 0, err)
    assert.equal(err, `Token old (h) is no longer in ${path}.\n`)
    assert.deepEqual(await idsIn(), ['new', 'silent'])
  })

  it('does not take one that was used in the last 7 days, unless forced', async () => {
    used('old', 6 * DAY_MS)
    used('new', 8 * DAY_MS)
    await leaveLedger()
    const { code, err } = await run('remove', 'old')
    assert.equal(code, 65)
    assert.match(err, /"old" was used 6d( 1s)? ago by h from 203\.0\.113\.7; .* add --force/)
    assert.deepEqual(await idsIn(), ['old', 'new', 'silent'])
    assert.equal((await run('remove', 'new')).code, 0)
    assert.equal((await run('remove', 'old', '--force')).code, 0)
    assert.deepEqual(await idsIn(), ['silent'])
  })

  it('asks for --force where nobody can tell', async () => {
    await writeFile(join(dir, 'ledger.json'), '{')
    const { code, err } = await run('remove', 'old')
    assert.equal(code, 65)
    assert.match(err, /cannot be told when "old" was last used; --force/)
  })

  it('leaves the last one: a gateway would keep it in force', async () => {
    await writeTokens('only')
    const { code, err } = await run('remove', 'only')
    assert.equal(code, 65)
    assert.match(err, /is the only token in .*; revoke it/)
  })

  it('knows no other, and wants an ID', async () => {
    assert.match((await run('remove', 'none')).err, /has no token with the ID "none"/)
    assert.equal((await run('remove')).code, 64)
  })
})

it('the commands keep what they do not know of: retiringAt and replacedBy', async () => {
  const tokens = setOf(
    { id: 'old', holder: 'h', retiringAt: '2026-01-01', replacedBy: 'new' },
    { id: 'new', holder: 'h' },
  ).records.map(({ id, holder, sha256 }) => ({ id, holder, sha256 }))
  const [old, ...rest] = tokens
  const dates = { retiringAt: '2026-01-01T00:00:00Z', replacedBy: 'new' }
  await writeFile(path, JSON.stringify({ tokens: [{ ...old, ...dates }, ...rest] }))
  await run('create', '--holder', 'h')
  await run('revoke', 'new')
  const [entry] = JSON.parse(await readFile(path, 'utf8')).tokens
  assert.deepEqual(entry, { ...old, ...dates })
})
