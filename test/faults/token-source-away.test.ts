/** A place that tokens come from is away or talks nonsense: nobody is refused for it, and it is said. */
import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { assertAccepted, assertRefusedWith } from '../support/answers.ts'
import { AwsAnswers } from '../support/aws-answers.ts'
import { useAws } from '../support/aws-settings.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { startGateway, type TestGateway, TOKEN, tokenSet } from '../support/gateway.ts'

const OTHER = 'another-token-of-the-tests-0123456789'
const PLACE = 'aws:otel/tokens'
const LABELS = { source: PLACE }
const ENV = { TOKENS_FILE: '', TOKENS_SOURCE: PLACE, TOKENS_POLL: '1s' }

async function startAws(t: TestContext): Promise<AwsAnswers> {
  const aws = await AwsAnswers.start(t)
  useAws(t, aws.address)
  return aws
}

async function folderFor(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-sources-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

async function readiness(gateway: TestGateway): Promise<string> {
  const answer = await fetch(`http://${gateway.addresses.admin}/readyz`)
  return `${answer.status} ${await answer.text()}`
}

/** Lines of the log about one event. */
async function told(gateway: TestGateway, event: string): Promise<readonly string[]> {
  const lines = await gateway.log()
  return lines.filter((line) => line.event === event).map(({ msg }) => String(msg))
}

const set = (...tokens: string[]) => tokenSet(tokens.map((token) => ({ token })))

test('away when the gateway starts, and nothing kept: asked to come back until it is there', async (t) => {
  const aws = await startAws(t)
  await aws.goAway()
  const gateway = await startGateway(t, { env: ENV })
  const client = gateway.connect('gRPC')
  assertRefusedWith(await client.send(), 503, 14)
  assert.match(
    await readiness(gateway),
    /^503 .*no token is loaded.*aws:otel\/tokens: AWS cannot be reached \(ECONNREFUSED\)/,
  )
  assert.match(
    (await told(gateway, 'tokens_unavailable'))[0] ?? '',
    /aws:otel\/tokens: AWS cannot be reached .* asked to come back/,
  )
  let page = await gateway.metrics()
  assert.equal(sumOf(page, 'tollgate_token_source_last_reload_success', LABELS), 0)
  assert.equal(sumOf(page, 'tollgate_token_source_tokens', LABELS), 0)
  aws.hold({ AWSCURRENT: set(TOKEN) })
  await aws.comeBack()
  page = await gateway.until((now) => sumOf(now, 'tollgate_tokens') === 1, 'the set')
  assertAccepted(await client.send())
  assertRefusedWith(await client.send({ token: OTHER }), 401, 16)
  assert.equal(sumOf(page, 'tollgate_token_source_last_reload_success', LABELS), 1)
  assert.equal(sumOf(page, 'tollgate_token_source_tokens', LABELS), 1)
  assert.match(await readiness(gateway), /^200 /)
  await gateway.assertInvariant()
})

test('away when the gateway starts again: what it said the last time is in force', async (t) => {
  const aws = await startAws(t)
  const folder = await folderFor(t)
  aws.hold({ AWSCURRENT: `{"token": "${TOKEN}"}` })
  const first = await startGateway(t, { env: ENV, folder })
  assertAccepted(await first.connect('gRPC').send())
  const sets = join(folder, 'sets')
  const [name = ''] = await eventually(async () => {
    const names = await readdir(sets).catch(() => [])
    return names.length === 1 && names[0]?.endsWith('.json') && names
  }, 'the kept set')
  await first.stop()
  assert.equal((await stat(join(sets, name))).mode & 0o777, 0o600)
  assert.ok(!(await readFile(join(sets, name), 'utf8')).includes(TOKEN), 'digests only')

  await aws.goAway()
  const second = await startGateway(t, { env: ENV, folder })
  const client = second.connect('gRPC')
  assertAccepted(await client.send())
  // It may have been made since.
  assertRefusedWith(await client.send({ token: OTHER }), 503, 14)
  const taken = (await told(second, 'tokens_loaded')).at(-1) ?? ''
  assert.match(
    taken,
    /^Took 1 token as aws:otel\/tokens had them \d+ s ago: it cannot be read now$/,
  )
  assert.match(
    await readiness(second),
    /^200 .*1 token is loaded; aws:otel\/tokens: AWS cannot be reached/,
  )
  aws.hold({ AWSCURRENT: set(TOKEN, OTHER) })
  await aws.comeBack()
  await second.until((now) => sumOf(now, 'tollgate_tokens') === 2, 'the new set')
  assertAccepted(await client.send({ token: OTHER }))
  // Before its folder goes.
  await second.stop()
})

for (const [name, text] of [
  ['half of one', '{"version":1,"place":"aws:otel/to'],
  ['of another place', '{"version":1,"place":"aws:another","texts":[]}'],
  ['with a set that is none', '{"version":1,"place":"aws:otel/tokens","texts":["{}"]}'],
] as const)
  test(`a kept set is ignored, and that is said: ${name}`, async (t) => {
    const aws = await startAws(t)
    const folder = await folderFor(t)
    aws.hold({ AWSCURRENT: set(TOKEN) })
    await (await startGateway(t, { env: ENV, folder })).stop()
    const [file = ''] = await readdir(join(folder, 'sets'))
    await writeFile(join(folder, 'sets', file), text)
    await aws.goAway()
    const gateway = await startGateway(t, { env: ENV, folder })
    assertRefusedWith(await gateway.connect('gRPC').send(), 503, 14)
    const notices = await told(gateway, 'notice')
    assert.match(notices.join('\n'), /Ignored what was kept of aws:otel\/tokens on disk: /)
    await gateway.stop()
  })

/** What the place may say, and the words for it. */
const MISHAPS: Readonly<Record<string, readonly [(aws: AwsAnswers) => unknown, RegExp]>> = {
  'wrong credentials': [
    (aws) => aws.refuse('UnrecognizedClientException', 'The security token is invalid.'),
    /does not know these credentials/,
  ],
  'no permission': [(aws) => aws.refuse('AccessDeniedException'), /secretsmanager:GetSecretValue/],
  'no such secret': [(aws) => aws.refuse('ResourceNotFoundException'), /no such secret/],
  'a skewed clock': [(aws) => aws.refuse('RequestTimeTooSkewed'), /clock/],
  'half a set': [(aws) => aws.hold({ AWSCURRENT: set(OTHER).slice(0, 60) }), /is not JSON/],
  'no text': [(aws) => aws.hold({ AWSCURRENT: ' ' }), /is empty/],
  'an empty set': [(aws) => aws.hold({ AWSCURRENT: '{"tokens":[]}' }), /expected at least one/],
  'another document': [(aws) => aws.hold({ AWSCURRENT: '{"user":"me"}' }), /neither "tokens" nor/],
  'a token too short': [(aws) => aws.hold({ AWSCURRENT: 'short' }), /5 characters/],
  'half an answer': [(aws) => aws.say('{"VersionId":'), /not one of AWS/],
  'nobody there': [(aws) => aws.goAway(), /cannot be reached/],
}

test('whatever goes wrong while the gateway runs, the last good set stays', async (t) => {
  const aws = await startAws(t)
  aws.hold({ AWSCURRENT: set(TOKEN) })
  const gateway = await startGateway(t, { env: ENV })
  const client = gateway.connect('gRPC')
  for (const [name, [happen, words]] of Object.entries(MISHAPS)) {
    await t.test(name, async () => {
      const before = (await told(gateway, 'tokens_kept_last_good')).length
      await happen(aws)
      for (let times = 0; times < 3; times += 1) await gateway.reload()
      const lines = (await told(gateway, 'tokens_kept_last_good')).slice(before)
      assert.equal(new Set(lines).size, lines.length, 'each said once')
      assert.match(lines.join('\n'), words)
      assert.match(
        lines[0] ?? '',
        /^Could not load the tokens from aws:otel\/tokens: .*The 1 loaded before stay in use$/s,
      )
      assert.equal(
        sumOf(await gateway.metrics(), 'tollgate_token_source_last_reload_success', LABELS),
        0,
      )
      assertAccepted(await client.send())
      assertRefusedWith(await client.send({ token: OTHER }), 401, 16)
      if (name === 'nobody there') await aws.comeBack()
      aws.hold({ AWSCURRENT: set(TOKEN) })
      await gateway.reload()
      assert.equal(
        sumOf(await gateway.metrics(), 'tollgate_token_source_last_reload_success', LABELS),
        1,
      )
    })
  }
})

test('one that does not answer does not keep the gateway from starting, or from stopping', async (t) => {
  const aws = await startAws(t)
  aws.stall()
  const gateway = await startGateway(t, { env: { ...ENV, TOKENS: `tests=${TOKEN}` } })
  const client = gateway.connect('gRPC')
  assertAccepted(await client.send())
  assertRefusedWith(await client.send({ token: OTHER }), 503, 14)
  assert.match(
    await readiness(gateway),
    /^200 .*1 token is loaded; aws:otel\/tokens: (?:no answer yet|did not answer within 10 s)/,
  )
  await gateway.stop()
})

test('wrong credentials when the gateway starts', async (t) => {
  const aws = await startAws(t)
  aws.refuse('UnrecognizedClientException', 'The security token is invalid.')
  const gateway = await startGateway(t, { env: { ...ENV, TOKENS: `tests=${TOKEN}` } })
  const client = gateway.connect('gRPC')
  assertAccepted(await client.send())
  assertRefusedWith(await client.send({ token: OTHER }), 503, 14)
  assert.match(
    await readiness(gateway),
    /^200 .*1 token is loaded; aws:otel\/tokens: AWS does not know these credentials/,
  )
  aws.hold({ AWSCURRENT: set(OTHER) })
  await gateway.reload()
  assertAccepted(await client.send({ token: OTHER }))
  assertAccepted(await client.send())
})

test('ten thousand tokens', async (t) => {
  const aws = await startAws(t)
  const many = Array.from({ length: 9999 }, (_, index) => `token-number-${index}-0123456789`)
  aws.hold({ AWSCURRENT: set(...many, TOKEN) })
  const gateway = await startGateway(t, { env: ENV })
  assertAccepted(await gateway.connect('gRPC').send())
  assertAccepted(await gateway.connect('gRPC').send({ token: 'token-number-9998-0123456789' }))
  assert.equal(sumOf(await gateway.metrics(), 'tollgate_token_source_tokens', LABELS), 10_000)
})

test('a file that is missing is a mistake at the start, also beside a place that is away', async (t) => {
  const aws = await startAws(t)
  await aws.goAway()
  const env = { ...ENV, TOKENS_SOURCE: `${PLACE},file:/nowhere/tokens.json` }
  await assert.rejects(
    startGateway(t, { env }),
    /cannot read \/nowhere\/tokens\.json: no such file/,
  )
  await aws.comeBack()
})

test('an id that stands for two tokens changes nothing until it is put right', async (t) => {
  const aws = await startAws(t)
  aws.hold({ AWSCURRENT: tokenSet([{ token: OTHER, id: 'twin' }]) })
  const env = { TOKENS_SOURCE: PLACE, TOKENS_POLL: '1h' }
  const gateway = await startGateway(t, { env, tokens: [{ token: TOKEN, id: 'mine' }] })
  const client = gateway.connect('gRPC')
  assertAccepted(await client.send({ token: OTHER }))
  const NEWER = 'a-newer-token-of-the-tests-0123456789'
  aws.hold({ AWSCURRENT: tokenSet([{ token: NEWER, id: 'mine' }]) })
  await gateway.reload()
  assert.match(
    (await told(gateway, 'tokens_kept_last_good'))[0] ?? '',
    /aws:otel\/tokens: the id "mine" stands for another token in file:.*; expected each id once over all places/,
  )
  assertAccepted(await client.send({ token: OTHER }))
  assertAccepted(await client.send())
  // Put right in the file: the other place is read again for it.
  await gateway.writeTokens([{ token: TOKEN, id: 'renamed' }])
  await gateway.until(
    (now) => sumOf(now, 'tollgate_token_source_last_reload_success') === 2,
    'both',
  )
  assertAccepted(await client.send({ token: NEWER }))
  assertAccepted(await client.send())
})

test('a token of AWSPENDING is let in before, and of AWSPREVIOUS for its time', async (t) => {
  const aws = await startAws(t)
  aws.hold({ AWSCURRENT: TOKEN, AWSPENDING: OTHER })
  const env = { ...ENV, TOKENS_POLL: '1h', AWS_PREVIOUS_TIME: '1h' }
  const gateway = await startGateway(t, { env })
  const client = gateway.connect('gRPC')
  assertAccepted(await client.send())
  assertAccepted(await client.send({ token: OTHER }))
  aws.hold({ AWSCURRENT: OTHER, AWSPREVIOUS: TOKEN })
  await gateway.reload()
  assertAccepted(await client.send())
  assertAccepted(await client.send({ token: OTHER }))
  await gateway.stop()
  // Nobody saw when it became current, but it was made too long ago.
  aws.hold({ AWSCURRENT: OTHER, AWSPREVIOUS: TOKEN }, Date.now() - 7_200_000)
  const later = await startGateway(t, { env })
  const again = later.connect('gRPC')
  assertRefusedWith(await again.send(), 401, 16)
  assertAccepted(await again.send({ token: OTHER }))
  assert.equal((await later.outcomes()).token_expired, 1)
})

test('a set that was replaced brings back no token that was taken out of it', async (t) => {
  const aws = await startAws(t)
  aws.hold({ AWSCURRENT: set(TOKEN), AWSPREVIOUS: set(TOKEN, OTHER) })
  const gateway = await startGateway(t, { env: ENV })
  assertRefusedWith(await gateway.connect('gRPC').send({ token: OTHER }), 401, 16)
  assertAccepted(await gateway.connect('gRPC').send())
})

test('a version that is to come, and is no good, keeps nobody out', async (t) => {
  const aws = await startAws(t)
  aws.hold({ AWSCURRENT: set(TOKEN), AWSPENDING: '{"tokens":', AWSPREVIOUS: 'changeme' })
  const gateway = await startGateway(t, { env: ENV })
  assertAccepted(await gateway.connect('gRPC').send())
  await gateway.reload()
  const notices = await told(gateway, 'notice')
  assert.deepEqual(notices, [
    'Left out a version of aws:otel/tokens that is to come: is not JSON: it ends too early',
  ])
})

test('a set that cannot be kept on disk is in force all the same, and that is said once', async (t) => {
  const aws = await startAws(t)
  const folder = await folderFor(t)
  await writeFile(join(folder, 'sets'), 'no folder')
  aws.hold({ AWSCURRENT: set(TOKEN) })
  const gateway = await startGateway(t, { env: ENV, folder })
  const client = gateway.connect('gRPC')
  assertAccepted(await client.send())
  aws.hold({ AWSCURRENT: set(TOKEN, OTHER) })
  await gateway.reload()
  assertAccepted(await client.send({ token: OTHER }))
  const notices = await eventually(async () => {
    const lines = await told(gateway, 'notice')
    return lines.length > 0 && lines
  }, 'the notice')
  assert.equal(notices.length, 1)
  assert.match(
    notices[0] ?? '',
    /^Cannot keep the tokens of aws:otel\/tokens on disk: cannot write/,
  )
  await rm(join(folder, 'sets'))
  await gateway.reload()
  await eventually(
    async () => (await readdir(join(folder, 'sets')).catch(() => [])).length === 1,
    'the kept set',
  )
  await gateway.stop()
})
