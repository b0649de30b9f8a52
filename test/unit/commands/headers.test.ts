import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, it, type TestContext } from 'node:test'
import { dispatch } from '../../../src/commands/dispatch.ts'
import { runTollgate } from '../../support/run-command.ts'
import { ROOT } from '../../support/tools.ts'
import { startStandInVault } from '../../support/vault.ts'

const TOKEN = 'tg_k7abcdef_0123456789abcdefghijklmnopqrstuvwxyz0123456789ABC'
const PRINTED = `{"Authorization":"Bearer ${TOKEN}"}\n`

let dir: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'headers-command-'))
})

afterEach(() => rm(dir, { recursive: true, force: true }))

async function run(argv: readonly string[], env: Record<string, string> = {}) {
  let out = ''
  let err = ''
  const code = await dispatch(['headers', ...argv], {
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (err += text) },
    stdin: Readable.from([]),
    env,
  })
  return { code, out, err }
}

async function fileWith(text: string, name = 'token'): Promise<string> {
  const path = join(dir, name)
  await writeFile(path, text, { mode: 0o600 })
  return path
}

describe('headers', () => {
  const forms: readonly (readonly [title: string, value: string])[] = [
    ['the token alone', TOKEN],
    ['the word Bearer in front', `Bearer ${TOKEN}`],
    ['headers of an exporter', `Authorization=Bearer%20${TOKEN}`],
    ['headers with a blank', `authorization=Bearer ${TOKEN}`],
    ['more headers', `x-tenant=a, Authorization=Bearer%20${TOKEN},x-more=b=c`],
  ]
  for (const [title, value] of forms) {
    it(`reads ${title} from a file, a variable in it, and the environment`, async () => {
      const alone = await fileWith(`${value}\n`)
      assert.deepEqual(await run(['--from', `file:${alone}`]), { code: 0, out: PRINTED, err: '' })
      const dotenv = await fileWith(`OTHER=1\nexport HEADERS="${value}" # ours\n`, 'agent.env')
      assert.equal((await run(['--from', `file:${dotenv}#HEADERS`])).out, PRINTED)
      assert.equal((await run(['--from', 'env:#MINE'], { MINE: value })).out, PRINTED)
      const env = { OTEL_EXPORTER_OTLP_HEADERS: value, TOLLGATE_HEADERS_FROM: 'env' }
      assert.equal((await run([], env)).out, PRINTED)
    })
  }

  it('reads a field of a secret in Vault', async (t) => {
    const vault = await startStandInVault(t)
    await vault.put('agents/k7', { token: TOKEN, other: `Bearer ${TOKEN}` })
    const env = { TOLLGATE_VAULT_ADDR: vault.address, TOLLGATE_VAULT_TOKEN: vault.rootToken }
    assert.deepEqual(await run(['--from', 'vault:secret/agents/k7'], env), {
      code: 0,
      out: PRINTED,
      err: '',
    })
    assert.equal((await run(['--from', 'vault:secret/agents/k7#other'], env)).out, PRINTED)
    const wrong = await run(['--from', 'vault:secret/agents/k7#nothing'], env)
    assert.equal(wrong.code, 69)
    assert.equal(
      wrong.err,
      'tollgate: vault:secret/agents/k7#nothing: it has no text in a field nothing; it has token, other; name another behind the #\n',
    )
    const absent = await run(['--from', 'vault:secret/agents/none'], env)
    assert.equal(absent.code, 69)
    assert.match(absent.err, /there is nothing there/)
  })

  it('reads the current version of a secret in AWS, whole or one field', async (t) => {
    const values: Record<string, string> = {
      plain: TOKEN,
      fields: JSON.stringify({ token: TOKEN, mine: `Bearer ${TOKEN}` }),
    }
    const address = await startSecretsManager(t, values)
    const env = {
      AWS_ENDPOINT_URL: address,
      AWS_REGION: 'eu-central-1',
      AWS_ACCESS_KEY_ID: 'x',
      AWS_SECRET_ACCESS_KEY: 'y',
    }
    const printed = async (place: string) => await runTollgate(['headers', '--from', place], env)
    for (const place of ['aws:plain', 'aws:fields', 'aws:fields#mine']) {
      const { code, stdout, stderr } = await printed(place)
      assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: PRINTED.trimEnd(), stderr: '' })
    }
    const none = await printed('aws:none')
    assert.deepEqual([none.code, none.stdout], [69, ''])
    assert.match(none.stderr, /aws:none: there is nothing there/)
    const wrong = await printed('aws:plain#mine')
    assert.match(wrong.stderr, /is no JSON object, and so has no fields; leave out #mine/)
  })

  const wrong: readonly (readonly [title: string, argv: string[], code: number, err: RegExp])[] = [
    ['no place', [], 64, /Give --from PLACE/],
    ['the token in place of a place', ['--from', TOKEN], 64, /--from: expected a place such as/],
    ['the token as an argument', [TOKEN], 64, /nothing else/],
    ['an unknown option', ['--form', 'env'], 64, /nothing else/],
    ['a place for other things', ['--from', 'exec:./script'], 69, /cannot read its token from/],
    ['no user', ['--from', 'keyring:service'], 69, /keyring:SERVICE\/USER/],
    ['no such variable', ['--from', 'env:#NOT_SET'], 69, /env:#NOT_SET: there is nothing there/],
    [
      'no such file',
      ['--from', 'file:/nowhere/token'],
      66,
      /cannot read \/nowhere\/token: no such/,
    ],
    ['nobody says where Vault is', ['--from', 'vault:secret/x'], 69, /TOLLGATE_VAULT_ADDR/],
  ]
  for (const [title, argv, code, err] of wrong) {
    it(`says so: ${title}`, async () => {
      const ended = await run(argv)
      assert.deepEqual([ended.code, ended.out], [code, ''], ended.err)
      assert.match(ended.err, err)
      assert.ok(!ended.err.includes(TOKEN))
    })
  }

  const contents: readonly (readonly [title: string, text: string, err: RegExp])[] = [
    ['an empty file', '\n', /what is there is empty/],
    [
      'an environment file without a name',
      `A=1\nTOKEN=${TOKEN}\n`,
      /no Authorization|name the part/,
    ],
    ['JSON', `{"token": "${TOKEN}"}`, /name the part with the token, as file:.*#NAME/],
    ['headers without one', 'x-tenant=a,x-more=b', /no Authorization=Bearer%20… among them/],
    ['Basic', 'Authorization=Basic%20dXNlcjpwYXNz', /no Authorization=Bearer%20… among them/],
    ['two words', 'two words', /is no token/],
    ['a line end in it', `Authorization=Bearer%20${TOKEN}%0d%0aX: y`, /is no token/],
    ['letters that no header takes', 'tökén-0123456789', /is no token/],
  ]
  for (const [title, text, err] of contents) {
    it(`takes nothing for a token that is none: ${title}`, async () => {
      const ended = await run(['--from', `file:${await fileWith(text)}`])
      assert.deepEqual([ended.code, ended.out], [69, ''])
      assert.match(ended.err, err)
      assert.ok(!ended.err.includes(TOKEN))
    })
  }

  it('writes the token to a file, and touches it only for another one', async () => {
    const to = join(dir, 'copy')
    const first = await run(['--from', 'env:#MINE', '--to', to], { MINE: TOKEN })
    assert.deepEqual(first, { code: 0, out: '', err: '' })
    assert.equal(await readFile(to, 'utf8'), `${TOKEN}\n`)
    assert.equal((await stat(to)).mode & 0o777, 0o600)
    await utimes(to, 1000, 1000)
    await run(['--from', 'env:#MINE', '--to', to], { MINE: TOKEN })
    assert.equal((await stat(to)).mtimeMs, 1_000_000)
    const away = await run(['--from', 'env:#MINE', '--to', to])
    assert.equal(away.code, 69)
    assert.equal(await readFile(to, 'utf8'), `${TOKEN}\n`)
    const other = TOKEN.replace('k7', 'k8')
    await run(['--from', 'env:#MINE', '--to', to], { MINE: other })
    assert.equal(await readFile(to, 'utf8'), `${other}\n`)
  })

  it('explains itself', async () => {
    const { code, out, err } = await run(['--help'])
    assert.deepEqual([code, err], [0, ''])
    assert.match(out, /--from PLACE/)
  })
})

/** GetSecretValue as its reference documents it (AWS JSON 1.1), and nothing else of AWS. */
async function startSecretsManager(
  t: TestContext,
  values: Readonly<Record<string, string>>,
): Promise<string> {
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const part of request) body += part
    const { SecretId: id = '', VersionStage: stage } = JSON.parse(body)
    const text = values[id]
    assert.equal(stage, 'AWSCURRENT')
    response.writeHead(text === undefined ? 400 : 200, {
      'content-type': 'application/x-amz-json-1.1',
    })
    const missing = { __type: 'ResourceNotFoundException', Message: 'not found' }
    const found = { Name: id, VersionId: 'v1', SecretString: text, CreatedDate: 1_700_000_000 }
    response.end(JSON.stringify(text === undefined ? missing : found))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** What a module loads before it runs, all the way down. */
function loadedBy(file: string, known = new Set<string>()): Set<string> {
  if (known.has(file)) return known
  known.add(file)
  const text = readFileSync(file, 'utf8')
  for (const [, type, to = ''] of text.matchAll(/^import\s+(type\s)?[^'"]*?from '([^']+)'/gm)) {
    if (type !== undefined) continue
    if (to.startsWith('.')) loadedBy(join(dirname(file), to), known)
    else known.add(to)
  }
  return known
}

it('starts at once: a place that needs nothing has nothing loaded for it', () => {
  const files = [...loadedBy(join(ROOT, 'src/commands/headers.ts'))]
  assert.deepEqual(
    files.filter((file) => !file.startsWith(ROOT) && !file.startsWith('node:')),
    [],
  )
  assert.ok(files.filter((file) => file.startsWith(ROOT)).length < 12, files.join('\n'))
})
