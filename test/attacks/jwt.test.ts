/** JWTs made to be believed, to be costly, or to lead the gateway elsewhere. RFC 8725. */
import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { assertAccepted, assertRefusedWith } from '../support/answers.ts'
import type { Client } from '../support/client.ts'
import { sumOf } from '../support/exposition.ts'
import { collectGarbage } from '../support/garbage.ts'
import type { TestGateway } from '../support/gateway.ts'
import { AUDIENCE, startOidcServer } from '../support/oidc-server.ts'
import { forge, hs256, type SigningKey, sign, signingKey } from '../support/signing.ts'
import { type Scene, underAttack } from './scene.ts'

const KEY = await signingKey('key-1')
const RSA_KEY = await signingKey('rsa-1', 'RS256')
/** The attacker's own, under a name that the issuer uses. */
const NAMESAKE = await signingKey('key-1')
const FOREIGN = await signingKey('his-key')

/** Where the attacker comes from: not where the bystander does. */
const ELSEWHERE = '127.0.0.2'

interface JwtScene extends Scene {
  readonly attacker: Client
  readonly issuer: string
  /** Claims that nothing is wrong with, but for the changes. */
  claims(changes?: Readonly<Record<string, unknown>>): Record<string, unknown>
  /** JWTs looked at so far that came to this verdict; all of them without one. */
  checked(verdict?: string): Promise<number>
}

async function underJwtAttack(
  t: TestContext,
  act: (scene: JwtScene) => Promise<void>,
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const provider = await startOidcServer([KEY, RSA_KEY])
  const { issuer } = provider
  t.after(() => provider[Symbol.asyncDispose]())
  const jwts = { JWT_ISSUERS: issuer, JWT_AUDIENCE: AUDIENCE, ...env }
  await underAttack(
    t,
    async (scene) => {
      const { gateway } = scene
      await gateway.until((page) => sumOf(page, 'tollgate_jwt_keys') === 2, 'the keys')
      const attacker = gateway.connect('gRPC', { localAddress: ELSEWHERE, token: '' })
      const exp = Math.floor(Date.now() / 1000) + 300
      try {
        await act({
          ...scene,
          attacker,
          issuer,
          claims: (changes = {}) => ({ iss: issuer, aud: AUDIENCE, sub: 'shop', exp, ...changes }),
          checked: (verdict) => checksOf(gateway, verdict),
        })
      } finally {
        attacker.close()
      }
    },
    { env: jwts },
  )
}

async function checksOf(gateway: TestGateway, verdict?: string): Promise<number> {
  const labels = verdict === undefined ? {} : { verdict }
  return sumOf(await gateway.metrics(), 'tollgate_jwt_checks_total', labels)
}

/** What is tried, and the verdict it comes to; undefined: it is not even taken for a JWT. */
type Attempts = Readonly<Record<string, readonly [token: string, verdict: string | undefined]>>

async function tryAll({ attacker, checked }: JwtScene, attempts: Attempts): Promise<void> {
  for (const [what, [token, verdict]] of Object.entries(attempts)) {
    const before = { all: await checked(), this: verdict && (await checked(verdict)) }
    const answer = await attacker.send({ token })
    assert.equal(answer.grpcStatus, 16, `${what}: ${answer.grpcMessage}`)
    const after = { all: await checked(), this: verdict && (await checked(verdict)) }
    const by = verdict === undefined ? 0 : 1
    assert.equal(after.all, before.all + by, what)
    if (verdict !== undefined) assert.equal(after.this, Number(before.this) + 1, what)
  }
  assert.equal(await checked('verified'), 0)
}

test('signatures that prove nothing', async (t) => {
  await underJwtAttack(t, async (scene) => {
    const { claims } = scene
    const good = await sign(KEY, claims())
    const [head = '', , signature = ''] = good.split('.')
    const header = { alg: 'ES256', kid: 'key-1', typ: 'at+jwt' }
    const unsigned = (alg: unknown, end = 'AA') => forge({ ...header, alg }, claims(), end)
    await tryAll(scene, {
      'alg none': [unsigned('none', ''), undefined],
      'alg none with a signature': [unsigned('none'), 'algorithm'],
      'alg nOnE': [unsigned('nOnE'), 'algorithm'],
      'alg as a list': [unsigned(['ES256', 'none']), 'malformed'],
      'the signature stripped': [good.slice(0, good.lastIndexOf('.') + 1), undefined],
      'the signature and its dot stripped': [good.slice(0, good.lastIndexOf('.')), undefined],
      'a signature of zeros': [forge(header, claims(), () => Buffer.alloc(64)), 'signature'],
      'a signature of one byte': [unsigned('ES256'), 'signature'],
      'other claims under a good signature': [
        [
          head,
          Buffer.from(JSON.stringify(claims({ sub: 'root' }))).toString('base64url'),
          signature,
        ].join('.'),
        'signature',
      ],
      'another key of the same name': [await sign(NAMESAKE, claims()), 'signature'],
      'another algorithm of the same key': [unsigned('ES384'), 'unknown_key'],
      'an algorithm of another key': [unsigned('RS256'), 'unknown_key'],
      'a critical extension': [
        forge({ ...header, crit: ['b64'], b64: false }, claims(), 'AA'),
        'malformed',
      ],
    })
  })
})

test('the public key used as a shared secret', async (t) => {
  await underJwtAttack(t, async (scene) => {
    const attempts: Record<string, readonly [string, string]> = {}
    for (const { kid, jwk } of [KEY, RSA_KEY]) {
      const key = createPublicKey({ key: jwk as never, format: 'jwk' })
      const secrets = {
        PEM: key.export({ type: 'spki', format: 'pem' }),
        DER: key.export({ type: 'spki', format: 'der' }),
        JWK: JSON.stringify(jwk),
      }
      for (const [form, secret] of Object.entries(secrets))
        for (const alg of ['HS256', 'hs256'])
          attempts[`${alg} with the ${form} of ${kid}`] = [
            forge({ alg, kid }, scene.claims(), hs256(secret)),
            'algorithm',
          ]
    }
    await tryAll(scene, attempts)
  })
})

test('keys that a JWT brings along, or names', async (t) => {
  let asked = 0
  const his = createServer((_request, response) => {
    asked += 1
    response.end(JSON.stringify({ keys: [FOREIGN.jwk, NAMESAKE.jwk] }))
  })
  his.listen(0, '127.0.0.1')
  await once(his, 'listening')
  t.after(() => his.close())
  const url = `http://127.0.0.1:${(his.address() as AddressInfo).port}/keys`
  await underJwtAttack(t, async (scene) => {
    const { claims } = scene
    const brought = (key: SigningKey) => ({ jwk: key.jwk, jku: url, x5u: url, x5c: ['AAAA'] })
    await tryAll(scene, {
      'a key of his under our name': [
        await sign(NAMESAKE, claims(), brought(NAMESAKE)),
        'signature',
      ],
      'a key of his under his name': [
        await sign(FOREIGN, claims(), brought(FOREIGN)),
        'unknown_key',
      ],
      'no name, and his key': [
        await sign(FOREIGN, claims(), { ...brought(FOREIGN), kid: undefined }),
        'signature',
      ],
      'claims that name his issuer': [
        await sign(FOREIGN, claims({ iss: url, jwks_uri: url })),
        'unknown_issuer',
      ],
    })
    assert.equal(asked, 0, 'nobody asked him')
  })
})

test('names of keys that mean something elsewhere', async (t) => {
  await underJwtAttack(t, async ({ attacker, claims, checked }) => {
    const names = [
      '../../../../dev/null',
      '__proto__',
      'constructor',
      "' OR '1'='1",
      '',
      'key-1\u0000',
    ]
    const tokens = await Promise.all(names.map((kid) => sign(FOREIGN, claims(), { kid })))
    const answers = await Promise.all(tokens.map((token) => attacker.send({ token })))
    for (const answer of answers) assertRefusedWith(answer, 401, 16)
    assert.equal(await checked('unknown_key'), names.length)
  })
})

test('good signatures on what is not for us, or not now', async (t) => {
  await underJwtAttack(t, async (scene) => {
    const { claims, issuer, gateway } = scene
    const now = Math.floor(Date.now() / 1000)
    const signed = (changes: Record<string, unknown>, header = {}) =>
      sign(KEY, claims(changes), header)
    await tryAll(scene, {
      'for somebody else': [await signed({ aud: 'another-service' }), 'audience'],
      'for nobody': [await signed({ aud: undefined }), 'audience'],
      'by another issuer': [await signed({ iss: 'https://login.example' }), 'unknown_issuer'],
      'by the issuer with a slash': [await signed({ iss: `${issuer}/` }), 'unknown_issuer'],
      'by a list of issuers': [await signed({ iss: [issuer] }), 'unknown_issuer'],
      'without an end': [await signed({ exp: undefined }), 'claims'],
      'with an end in words': [await signed({ exp: 'never' }), 'claims'],
      'without a subject': [await signed({ sub: undefined }), 'claims'],
      'an ID token for a logout': [await signed({}, { typ: 'logout+jwt' }), 'malformed'],
      'bound to a key (DPoP)': [await signed({ cnf: { jkt: 'x' } }), 'malformed'],
      expired: [await signed({ exp: now - 31 }), 'expired'],
      'not yet valid': [await signed({ nbf: now + 60 }), 'not_yet_valid'],
    })
    const outcomes = await gateway.outcomes()
    assert.equal(outcomes.token_expired, 1)
    assert.equal(outcomes.token_not_yet_valid, 1)
  })
})

test('another issuer that is trusted too speaks for itself only', async (t) => {
  const other = await startOidcServer([NAMESAKE, RSA_KEY])
  t.after(() => other[Symbol.asyncDispose]())
  const first = await startOidcServer([KEY])
  t.after(() => first[Symbol.asyncDispose]())
  await underAttack(
    t,
    async ({ gateway, bystander }) => {
      await gateway.until((page) => sumOf(page, 'tollgate_jwt_keys') === 3, 'the keys of both')
      const exp = Math.floor(Date.now() / 1000) + 300
      const claims = { aud: AUDIENCE, sub: 'shop', exp }
      assertAccepted(await bystander.send({ token: await first.token('shop') }))
      assertAccepted(await bystander.send({ token: await other.token('shop') }))
      for (const [iss, key] of [
        [first.issuer, NAMESAKE],
        [other.issuer, KEY],
      ] as const) {
        const token = await sign(key, { ...claims, iss })
        assertRefusedWith(await bystander.send({ token }), 401, 16)
      }
      assert.equal(await checksOf(gateway, 'signature'), 2)
      const page = await gateway.metrics()
      assert.equal(sumOf(page, 'tollgate_jwt_remembered', { table: 'subjects' }), 2)
    },
    { env: { JWT_ISSUERS: `${first.issuer},${other.issuer}`, JWT_AUDIENCE: AUDIENCE } },
  )
})

test('huge JWTs, claims that come twice, and holders that are hard to show', async (t) => {
  await underJwtAttack(t, async ({ attacker, claims, checked, gateway }) => {
    const send = async (token: string) => (await attacker.send({ token })).grpcStatus
    assert.equal(await send(await sign(KEY, claims({ pad: 'x'.repeat(5600) }))), 0, 'just below')
    assert.equal(await send(await sign(KEY, claims({ pad: 'x'.repeat(6000) }))), 16)
    assert.equal(await send(await sign(KEY, claims({ pad: 'x'.repeat(9000) }))), 16)
    assert.equal(await checked('too_large'), 2)
    // 16 KiB of headers are too many for any request.
    const answer = await attacker.send({
      token: await sign(KEY, claims({ pad: 'x'.repeat(14_000) })),
    })
    assert.equal(answer.httpStatus, 431)

    const wide = `${'\u202e'.repeat(20)}店\n"}{tollgate_fake 1`
    for (const sub of [wide, 's'.repeat(4000), '{}', '$(reboot)'])
      assert.equal(await send(await sign(KEY, claims({ sub }))), 0)
    const { sub: _, ...rest } = claims()
    const twice = `${JSON.stringify(rest).slice(0, -1)},"sub":"first","sub":"last"}`
    const header = { alg: 'ES256', kid: 'key-1' }
    const forged = forge(header, twice, 'AAAA')
    assert.equal(await send(forged), 16)
    // Parsing the page would throw at a line that a holder forged.
    const page = await gateway.metrics()
    const holders = (page.get('tollgate_token_requests_total') ?? []).map(
      ({ labels }) => labels.holder ?? '',
    )
    for (const holder of holders) {
      assert.ok(holder.length <= 140, `a holder of ${holder.length}`)
      assert.doesNotMatch(holder.replaceAll('\\"', ''), /[\p{Cc}\p{Cf}"]/u)
    }
    assert.ok(!(await gateway.logText()).includes('\u202e'))
  })
})

test('ten thousand JWTs with random signatures: an address pays for each check', async (t) => {
  const rate = { perSecond: 100, burst: 200 }
  await underJwtAttack(
    t,
    async ({ attacker, claims, checked, gateway }) => {
      const startMs = performance.now()
      const header = { alg: 'ES256', kid: 'key-1' }
      const random = (at: number) =>
        forge(header, claims({ jti: at }), (input) => Buffer.from(input.slice(-64)))
      const total = 10_000
      const sendSome = async (from: number) => {
        for (let at = from; at < total; at += 100) {
          const { grpcStatus } = await attacker.send({ token: random(at) })
          assert.ok(grpcStatus === 16 || grpcStatus === 8 || grpcStatus === 14, String(grpcStatus))
        }
      }
      await Promise.all(Array.from({ length: 100 }, (_, from) => sendSome(from)))
      const seconds = (performance.now() - startMs) / 1000
      const most = rate.burst + rate.perSecond * seconds
      const checks = await checked('signature')
      assert.ok(checks <= most, `${checks} checks in ${seconds} s, at most ${most}`)
      const {
        token_unknown: unknown = 0,
        rate_limited: limited = 0,
        overloaded = 0,
      } = await gateway.outcomes()
      assert.equal(unknown + limited + overloaded, total)
      assert.ok(limited > total / 2, `${limited} were refused for their rate`)
      assert.equal(await checked(), checks + (await checked('overloaded')))
      // What is left after the garbage of ten thousand requests is what the scene judges.
      collectGarbage()
    },
    { RATE: `${rate.perSecond}/s`, BURST: String(rate.burst) },
  )
})

test('ten thousand JWTs for names of keys that nobody has: the issuer is asked a few times', async (t) => {
  const provider = await startOidcServer([KEY])
  t.after(() => provider[Symbol.asyncDispose]())
  await underAttack(
    t,
    async ({ gateway }) => {
      await gateway.until((page) => sumOf(page, 'tollgate_jwt_keys') === 1, 'the keys')
      const attacker = gateway.connect('gRPC', { localAddress: ELSEWHERE, token: '' })
      const startMs = performance.now()
      const exp = Math.floor(Date.now() / 1000) + 300
      const claims = { iss: provider.issuer, aud: AUDIENCE, sub: 'shop', exp }
      const total = 10_000
      let sent = 0
      const sendSome = async () => {
        while (sent < total) {
          sent += 1
          const token = forge({ alg: 'ES256', kid: `kid-${sent}` }, claims, 'AAAA')
          await attacker.send({ token })
        }
      }
      await Promise.all(Array.from({ length: 200 }, sendSome))
      const reads = provider.asked.filter((path) => path.endsWith('/jwks')).length
      const seconds = (performance.now() - startMs) / 1000
      assert.ok(reads <= 2 + seconds / 5, `${reads} reads in ${seconds} s`)
      const { token_unknown: unknown = 0, overloaded = 0 } = await gateway.outcomes()
      assert.equal(unknown + overloaded, total)
      assert.equal(await checksOf(gateway, 'signature'), 0)
      attacker.close()
      collectGarbage()
    },
    { env: { JWT_ISSUERS: provider.issuer, JWT_AUDIENCE: AUDIENCE } },
  )
})

test('whoever guesses is banned, and whose JWT has been good there is not', async (t) => {
  await underJwtAttack(
    t,
    async ({ gateway, claims, checked, issuer }) => {
      assert.ok(issuer !== '')
      const guest = gateway.connect('HTTP/2', { localAddress: ELSEWHERE, token: '' })
      const jwt = await sign(KEY, claims({ sub: 'honest' }))
      assertAccepted(await guest.send({ token: jwt }))
      const guess = (at: number) => sign(NAMESAKE, claims({ sub: 'root', jti: at }))
      for (let at = 0; at < 5; at += 1)
        assertRefusedWith(await guest.send({ token: await guess(at) }), 401, 16)
      const banned = gateway.connect('gRPC', { localAddress: ELSEWHERE, token: '' })
      assertRefusedWith(await banned.send({ token: await guess(5) }), 403, 7)
      assert.equal(await checked('signature'), 5, 'a banned address has nothing checked')
      const neighbour = gateway.connect('gRPC', { localAddress: ELSEWHERE, token: '' })
      assertAccepted(await neighbour.send({ token: jwt }))
      // The same agent with the next of its JWTs.
      const next = await sign(KEY, claims({ sub: 'honest', jti: 'next' }))
      assertAccepted(await neighbour.send({ token: next }))
      for (const client of [guest, banned, neighbour]) client.close()
    },
    { BAN_EXEMPT: 'none' },
  )
})
