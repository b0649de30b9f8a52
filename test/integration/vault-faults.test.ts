/** What a sound Vault never answers, and what lies between: each has words, and costs nothing that is in force. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { VaultSettings } from '../../src/secrets/vault/client.ts'
import { VaultDelivery } from '../../src/secrets/vault/delivery.ts'
import { VaultSource } from '../../src/secrets/vault/source.ts'
import { VaultTruth } from '../../src/secrets/vault/truth.ts'
import { writeCertificate } from '../support/certs.ts'
import { eventually } from '../support/eventually.ts'
import { type Interloper, type StandInVault, startStandInVault } from '../support/vault.ts'
import { clientFor, faultOf, placeOf, plain, SET } from '../support/vault-contract.ts'

const PLACE = placeOf('vault:secret/otel/tokens')
const DATA = /^secret\/data\//

/** A stand-in with a set in it, and a source that reads it as root. */
async function scene(t: TestContext, more: Partial<VaultSettings> = {}) {
  const server = await startStandInVault(t)
  await server.put('otel/tokens', SET)
  const login = { kind: 'token', token: server.rootToken } as const
  const client = clientFor(t, server, login, more)
  return { server, client, source: new VaultSource(client, PLACE) }
}

/** Answers in place of the server where the path fits. */
function insteadOf(path: RegExp, answer: (response: ServerResponse) => void): Interloper {
  return (asked, response) => {
    if (!path.test(asked.path)) return false
    answer(response)
    return true
  }
}

function json(status: number, body: unknown): (response: ServerResponse) => void {
  return (response) => {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(body))
  }
}

async function isAsBefore(server: StandInVault, source: VaultSource): Promise<void> {
  server.interloper = undefined
  const [version] = await source.read()
  assert.deepEqual(JSON.parse(version?.text ?? ''), SET)
}

interface OddAnswer {
  readonly title: string
  readonly answer: (response: ServerResponse) => void
  readonly message: RegExp
  readonly isTemporary: boolean
}

const html = (status: number) => (response: ServerResponse) => {
  response.writeHead(status, { 'content-type': 'text/html; charset=utf-8' })
  response.end('<html><title>Sign in, visitor 4711</title></html>')
}

const ODD_ANSWERS: readonly OddAnswer[] = [
  {
    title: 'too many requests',
    answer: json(429, {
      errors: ['request path "secret/data/otel/tokens": rate limit quota exceeded'],
    }),
    message: /refused this as too much \(429\); ask less often/,
    isTemporary: true,
  },
  {
    title: 'a standby that is behind',
    answer: json(412, { errors: ['required index state not present'] }),
    message: /is not up to date yet \(412\)/,
    isTemporary: true,
  },
  {
    title: 'a failure inside Vault',
    answer: json(500, { errors: ['1 error occurred:\n\t* context deadline exceeded\n\n'] }),
    message:
      /failed \(500: 1 error occurred: \* context deadline exceeded\); look at the log of Vault/,
    isTemporary: true,
  },
  {
    title: 'the page of a proxy that reaches nobody',
    answer: html(502),
    message: /answered 502 with text\/html that is not Vault's/,
    isTemporary: true,
  },
  {
    title: 'the page of a proxy that wants a login',
    answer: html(200),
    message: /answered 200 with text\/html that is not Vault's; look at host, port and path/,
    isTemporary: false,
  },
  {
    title: "another program's JSON",
    answer: json(404, { message: 'no such route 4711' }),
    message: /answered 404 with application\/json that is not Vault's/,
    isTemporary: false,
  },
  {
    title: 'JSON that is not of this engine',
    answer: json(200, { data: { tokens: [] } }),
    message: /is not that of a KV version 2 engine/,
    isTemporary: false,
  },
  {
    title: 'JSON that breaks off',
    answer: (response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end('{"data":{"data":{"tokens":[{"id":"4711"')
    },
    message: /answered 200 with JSON that breaks off/,
    isTemporary: true,
  },
  {
    title: 'less than was promised',
    answer: (response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '9999' })
      response.write('{"data":{"data":')
      setImmediate(() => response.destroy())
    },
    message: /closed the connection before its answer was whole/,
    isTemporary: true,
  },
  {
    title: 'the mount that is just being upgraded',
    answer: json(400, {
      errors: ['Upgrading from non-versioned to versioned data. This backend will be unavailable'],
    }),
    message: /is being turned into KV version 2 \(400\)/,
    isTemporary: true,
  },
  {
    title: 'something else that Vault refuses',
    answer: json(400, { errors: ['nobody knows the trouble 4711'] }),
    message: /Vault refused to read it \(400\); look at the audit log/,
    isTemporary: false,
  },
  {
    title: 'a redirect to the active node',
    answer: (response) => {
      response.writeHead(307, { location: 'http://active.example:8200/v1/secret/data/otel/tokens' })
      response.end()
    },
    message:
      /answered 307 and sends on to http:\/\/active\.example:8200, and was not followed; .*make it the address/,
    isTemporary: true,
  },
  {
    title: 'a redirect to itself',
    answer: (response) => {
      response.writeHead(301, { location: '/elsewhere' })
      response.end()
    },
    message: /answered 301 .* not followed; look at the path of the address/,
    isTemporary: false,
  },
]

for (const { title, answer, message, isTemporary } of ODD_ANSWERS) {
  test(`${title}: told as it is, and the next read is whole`, async (t) => {
    const { server, source } = await scene(t)
    server.interloper = insteadOf(DATA, answer)
    const fault = await faultOf(source.read(), server.rootToken, '4711')
    assert.match(fault.message, message)
    assert.equal(fault.isTemporary, isTemporary)
    assert.equal(fault.place, PLACE.text)
    await isAsBefore(server, source)
  })
}

test('a text of Vault that has the token in it is not passed on', async (t) => {
  const { server, source } = await scene(t)
  server.interloper = insteadOf(DATA, json(500, { errors: [`no lease for ${server.rootToken}`] }))
  assert.match((await faultOf(source.read(), server.rootToken)).message, /failed \(500\)/)
})

test('an answer without an end is cut at 64 MiB', async (t) => {
  const { server, source } = await scene(t)
  let isOver = false
  server.interloper = insteadOf(DATA, (response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.on('close', () => {
      isOver = true
    })
    const megabyte = Buffer.alloc(2 ** 20, ' ')
    const more = () => {
      while (!isOver && response.write(megabyte));
      if (!isOver) response.once('drain', more)
    }
    more()
  })
  const fault = await faultOf(source.read())
  assert.match(fault.message, /its answer is larger than 64 MiB/)
  await eventually(() => isOver, 'the end of the connection')
  await isAsBefore(server, source)
})

test('an answer that does not come is given up at the time limit', async (t) => {
  const { server, source } = await scene(t, { timeoutMs: 2000 })
  server.interloper = () => true
  const fault = await faultOf(source.read())
  assert.match(fault.message, /no answer from Vault at http:\/\/127\.0\.0\.1:\d+ in 2000 ms/)
  assert.equal(fault.isTemporary, true)
  await isAsBefore(server, source)
})

test('503 is asked after: not initialised, a standby alone, and neither', async (t) => {
  const { server, source } = await scene(t)
  const unavailable = json(503, { errors: ['node is not active'] })
  const withHealth =
    (health: unknown): Interloper =>
    (asked, response) => {
      json(
        asked.path === 'sys/health' ? 200 : 503,
        asked.path === 'sys/health' ? health : { errors: ['no'] },
      )(response)
      return true
    }
  server.interloper = withHealth({ initialized: false, sealed: true, standby: true })
  const empty = await faultOf(source.read())
  assert.match(empty.message, /is not initialised \(503\); run `vault operator init`/)
  assert.equal(empty.isTemporary, false)
  server.interloper = withHealth({ initialized: true, sealed: false, standby: true })
  const standby = await faultOf(source.read())
  assert.match(standby.message, /is a standby without an active node \(503\)/)
  assert.equal(standby.isTemporary, true)
  server.interloper = insteadOf(/./, unavailable)
  const unknown = await faultOf(source.read())
  assert.match(unknown.message, /is not available \(503: node is not active\)/)
  assert.equal(unknown.isTemporary, true)
  await isAsBefore(server, source)
})

test('every request carries the namespace and the mark of a client, but sys/health no namespace', async (t) => {
  const server = await startStandInVault(t)
  await server.put('otel/tokens', SET)
  await server.writePolicy('all', 'path "*" {\n  capabilities = ["read"]\n}\n')
  const { roleId, newWrappedSecretId } = await server.makeAppRole({ policies: ['all'] })
  const login = { kind: 'approle', roleId, wrappedSecretId: await newWrappedSecretId() } as const
  const client = clientFor(t, server, login, { namespace: 'team/a' })
  const source = new VaultSource(client, PLACE)
  await source.read()
  await server.seal()
  await faultOf(source.read())
  await server.unseal()
  await source.close()
  assert.ok(server.count(/wrapping\/unwrap/) === 1 && server.count(/revoke-self/) === 1)
  for (const { path, headers } of server.asked) {
    assert.equal(headers['x-vault-request'], 'true', path)
    const namespace = path === 'sys/health' ? undefined : 'team/a'
    assert.equal(headers['x-vault-namespace'], namespace, path)
  }
})

test('an address with a path in front keeps it', async (t) => {
  const server = await startStandInVault(t)
  const seen: (string | undefined)[] = []
  server.interloper = ({ path }, response) => {
    seen.push(path)
    json(200, {
      data: {
        data: SET,
        metadata: { version: 7 },
        path: 'secret/',
        type: 'kv',
        options: { version: '2' },
      },
    })(response)
    return true
  }
  const login = { kind: 'token', token: 'hvs.any' } as const
  const client = clientFor(t, { address: `${server.address}/behind/proxy/` }, login)
  const [version] = await new VaultSource(client, PLACE).read()
  assert.equal(version?.version, '7')
  assert.ok(
    seen.length === 3 && seen.every((path) => path?.startsWith('/behind/proxy/v1/')),
    String(seen),
  )
})

test('TLS: the CA that is named is trusted, and no other', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-vault-tls-'))
  t.after(() => rm(folder, { recursive: true }))
  const { certPath, keyPath, caPem } = await writeCertificate(folder)
  const tls = { cert: await readFile(certPath, 'utf8'), key: await readFile(keyPath, 'utf8') }
  const server = await startStandInVault(t, { tls })
  await server.put('otel/tokens', SET)
  const login = { kind: 'token', token: server.rootToken } as const
  const read = (address: string, ca?: string) =>
    new VaultSource(clientFor(t, { address }, login, { ca }), PLACE).read()
  assert.equal((await read(server.address, caPem)).length, 1)
  const stranger = await faultOf(read(server.address))
  assert.match(
    stranger.message,
    /signed by nobody trusted here; name the file .* TOLLGATE_VAULT_CA/,
  )
  assert.equal(stranger.isTemporary, false)
  const { address: plainAddress } = await startStandInVault(t)
  const plainly = await faultOf(read(plainAddress.replace('http:', 'https:'), caPem))
  assert.match(plainly.message, /does not speak TLS; write its address with http:\/\//)
})

test('a port without anybody is told', async (t) => {
  const source = new VaultSource(
    clientFor(t, { address: 'http://127.0.0.1:1' }, { kind: 'token', token: 'hvs.any' }),
    PLACE,
  )
  const fault = await faultOf(source.read(), 'hvs.any')
  assert.match(fault.message, /connection refused; look whether Vault runs/)
  assert.equal(fault.isTemporary, true)
})

test('an unwrapping whose answer is lost says that it may have been this process', async (t) => {
  const server = await startStandInVault(t)
  const { roleId, newWrappedSecretId } = await server.makeAppRole({ policies: [] })
  const wrappedSecretId = await newWrappedSecretId()
  const client = clientFor(t, server, { kind: 'approle', roleId, wrappedSecretId })
  const source = new VaultSource(client, PLACE)
  server.interloper = ({ path, headers }, response) => {
    if (path !== 'sys/wrapping/unwrap') return false
    const token = server.memory.token(String(headers['x-vault-token']))
    if (token !== undefined) token.endsMs = 0
    response.destroy()
    return true
  }
  assert.equal((await faultOf(source.read(), wrappedSecretId)).isTemporary, true)
  const fault = await faultOf(source.read(), wrappedSecretId)
  assert.match(fault.message, /has begun to unwrap it before, and lost the answer/)
})

test('a renewal that fails is tried again while the token lives', async (t) => {
  const server = await startStandInVault(t)
  await server.put('otel/tokens', SET)
  await server.writePolicy('all', 'path "secret/*" {\n  capabilities = ["read"]\n}\n')
  const { roleId, newSecretId } = await server.makeAppRole({ policies: ['all'], ttlSeconds: 9 })
  const login = { kind: 'approle', roleId, secretId: await newSecretId() } as const
  const source = new VaultSource(clientFor(t, server, login), PLACE)
  await source.read()
  let failures = 0
  server.interloper = (asked, response) => {
    if (!asked.path.endsWith('renew-self') || failures > 0) return false
    failures += 1
    json(500, { errors: ['not now'] })(response)
    return true
  }
  const isRenewed = async () => (await server.tokensWith('all'))[0]?.isRenewed
  assert.equal(await eventually(isRenewed, 'the second attempt'), true)
  assert.equal(failures, 1)
  assert.equal(server.count(/approle\/login/), 1)
})

test('a second refusal after a new login is not answered by a third', async (t) => {
  const server = await startStandInVault(t)
  const { roleId, newSecretId } = await server.makeAppRole({ policies: [] })
  const login = { kind: 'approle', roleId, secretId: await newSecretId() } as const
  const source = new VaultSource(clientFor(t, server, login), PLACE)
  server.interloper = insteadOf(DATA, json(403, { errors: ['permission denied', 'invalid token'] }))
  assert.match((await faultOf(source.read())).message, /permission denied to read it \(403\)/)
  assert.equal(server.count(/approle\/login/), 2)
})

test('a delivery that others always overtake gives up, and says so', async (t) => {
  const { server, client } = await scene(t)
  const delivery = new VaultDelivery(client, placeOf('vault:secret/otel/agent'))
  server.interloper = (asked, response) => {
    if (asked.method !== 'POST' || !DATA.test(asked.path)) return false
    json(400, { errors: ['check-and-set parameter did not match the current version'] })(response)
    return true
  }
  const fault = await faultOf(delivery.deliver(plain('the-plain-token')), 'the-plain-token')
  assert.match(fault.message, /others wrote it between reading and writing, 5 times in a row/)
  assert.equal(fault.isTemporary, true)
})

test('a set that the storage of Vault cannot take is told as that', async (t) => {
  const { server, client } = await scene(t)
  server.interloper = insteadOf(
    DATA,
    json(413, { errors: ['put failed due to value being too large'] }),
  )
  const truth = new VaultTruth(client, PLACE)
  const fault = await faultOf(truth.write(JSON.stringify(SET), '1'))
  assert.match(
    fault.message,
    /the set is too large for Vault \(413\); .*max_entry_size of its storage/,
  )
})

test('a server that does not say why it refuses a token is understood all the same', async (t) => {
  const server = await startStandInVault(t)
  server.isTerse = true
  await server.put('otel/tokens', SET)
  await server.writePolicy('all', 'path "secret/*" {\n  capabilities = ["read"]\n}\n')
  const { roleId, newSecretId } = await server.makeAppRole({ policies: ['all'] })
  const login = { kind: 'approle', roleId, secretId: await newSecretId() } as const
  const source = new VaultSource(clientFor(t, server, login), PLACE)
  await source.read()
  const [live] = await server.tokensWith('all')
  await server.revoke(live?.accessor ?? '')
  await isAsBefore(server, source)
  assert.equal(server.count(/approle\/login/), 2)

  const token = await server.makeToken(['all'])
  const given = new VaultSource(clientFor(t, server, { kind: 'token', token }), PLACE)
  await given.read()
  for (const { accessor } of await server.tokensWith('all')) await server.revoke(accessor)
  const fault = await faultOf(given.read(), token)
  assert.match(
    fault.message,
    /permission denied \(403\), and the token may not look itself up either/,
  )
  assert.equal(fault.isTemporary, false)
})

test('a login without the default policy that lacks a grant is not made again and again', async (t) => {
  const server = await startStandInVault(t)
  const { roleId, newSecretId } = await server.makeAppRole({ policies: [] })
  const login = { kind: 'approle', roleId, secretId: await newSecretId() } as const
  const source = new VaultSource(clientFor(t, server, login), PLACE)
  server.interloper = insteadOf(
    /lookup-self|^secret\/data|ui\/mounts/,
    json(403, { errors: ['permission denied'] }),
  )
  for (let reads = 0; reads < 5; reads += 1) {
    assert.match((await faultOf(source.read())).message, /permission denied to read it \(403\)/)
  }
  assert.equal(server.count(/approle\/login/), 2)
})

test('role and secret id that were refused are not tried again and again', async (t) => {
  const server = await startStandInVault(t)
  const { roleId } = await server.makeAppRole({ policies: [] })
  const login = { kind: 'approle', roleId, secretId: 'no-such-secret-id' } as const
  const client = clientFor(t, server, login)
  for (let reads = 0; reads < 5; reads += 1) {
    const fault = await faultOf(new VaultSource(client, PLACE).read(), roleId, login.secretId)
    assert.match(fault.message, /the role id or the secret id is wrong/)
  }
  assert.equal(server.count(/approle\/login/), 1)
})

test('a token that was given may be renewed by somebody else', async (t) => {
  const server = await startStandInVault(t)
  await server.put('otel/tokens', SET)
  await server.writePolicy('all', 'path "secret/*" {\n  capabilities = ["read"]\n}\n')
  const token = await server.makeToken(['all'], 1)
  const source = new VaultSource(clientFor(t, server, { kind: 'token', token }), PLACE)
  server.interloper = insteadOf(/renew-self/, json(403, { errors: ['permission denied'] }))
  await source.read()
  const held = server.memory.token(token)
  assert.ok(held !== undefined)
  const firstEndMs = held.endsMs
  held.endsMs += 3_600_000
  await eventually(() => performance.now() > firstEndMs, 'the end it had at first')
  await isAsBefore(server, source)
})

test('a given token that comes to its end is not renewed ever faster', async (t) => {
  const server = await startStandInVault(t)
  await server.put('otel/tokens', SET)
  await server.writePolicy('all', 'path "secret/*" {\n  capabilities = ["read"]\n}\n')
  const token = await server.makeToken(['all'], 3, 3)
  const source = new VaultSource(clientFor(t, server, { kind: 'token', token }), PLACE)
  await source.read()
  await eventually(() => server.memory.token(token) === undefined, 'its end')
  assert.match((await faultOf(source.read(), token)).message, /does not know the token/)
  assert.equal(server.count(/renew-self/), 1)
})

test('a token at its greatest age is replaced after one renewal', async (t) => {
  const server = await startStandInVault(t)
  await server.put('otel/tokens', SET)
  await server.writePolicy('all', 'path "secret/*" {\n  capabilities = ["read"]\n}\n')
  const { roleId, newSecretId } = await server.makeAppRole({
    policies: ['all'],
    ttlSeconds: 3,
    maxTtlSeconds: 3,
  })
  const login = { kind: 'approle', roleId, secretId: await newSecretId() } as const
  const source = new VaultSource(clientFor(t, server, login), PLACE)
  await source.read()
  await eventually(() => server.count(/approle\/login/) === 2, 'the second login')
  assert.equal(server.count(/renew-self/), 1)
  await isAsBefore(server, source)
})
