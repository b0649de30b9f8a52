/** AWS Secrets Manager as a place for tokens: labels, races and deliveries, with the official SDK. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { DeleteSecretCommand } from '@aws-sdk/client-secrets-manager'
import { AwsDelivery } from '../../src/secrets/aws/delivery.ts'
import { openSource } from '../../src/secrets/open-source.ts'
import { openTruth } from '../../src/secrets/open-truth.ts'
import { type Place, parsePlace } from '../../src/secrets/place.ts'
import { SourceFault } from '../../src/secrets/source-fault.ts'
import type { Source, Truth } from '../../src/secrets/truth.ts'
import { type SecretsManager, startSecretsManager } from '../support/ministack.ts'
import { hasTools } from '../support/tools.ts'

const DAY_MS = 86_400_000
const SETTINGS = { awsPreviousMs: 7 * DAY_MS }
const TOKEN = { id: 'new', holder: 'agents', token: 'a-new-token-0123456789abcdef' }

function placeOf(text: string): Place {
  const place = parsePlace(text)
  assert.ok(place !== undefined)
  return place
}

async function sourceOf(t: TestContext, name: string): Promise<Source> {
  const source = await openSource(placeOf(`aws:${name}`), SETTINGS)
  t.after(() => source.close())
  return source
}

async function truthOf(t: TestContext, name: string): Promise<Truth> {
  const truth = await openTruth(placeOf(`aws:${name}`), SETTINGS)
  t.after(() => truth.close())
  return truth
}

async function deliveryTo(t: TestContext, place: string): Promise<AwsDelivery> {
  const delivery = await AwsDelivery.open(placeOf(place))
  t.after(() => delivery.close())
  return delivery
}

async function textOf(t: TestContext, name: string): Promise<string | undefined> {
  return (await (await truthOf(t, name)).readCurrent()).text
}

async function faultOf(promise: Promise<unknown>): Promise<SourceFault> {
  const thrown: unknown = await promise.then(
    () => assert.fail('nothing was thrown'),
    (error: unknown) => error,
  )
  assert.ok(thrown instanceof SourceFault, String(thrown))
  return thrown
}

type Check = (aws: SecretsManager, t: TestContext) => Promise<void>

const CHECKS: Readonly<Record<string, Check>> = {
  async 'a secret is read, and a version that is pending beside it'(aws, t) {
    const first = await aws.create('read', 'one')
    const source = await sourceOf(t, 'read')
    assert.deepEqual(await source.read(), [{ text: 'one', version: first }])
    const second = await aws.put('read', 'two', 'AWSPENDING')
    assert.deepEqual(await source.read(), [
      { text: 'one', version: first },
      { text: 'two', version: second },
    ])
  },

  async 'a rotation is followed, and what it replaced is accepted for a time'(aws, t) {
    const first = await aws.create('rotated', 'one')
    const source = await sourceOf(t, 'rotated')
    await source.read()
    const second = await aws.put('rotated', 'two', 'AWSPENDING')
    await source.read()
    const beforeMs = Date.now()
    await aws.promote('rotated', first, second)
    const [current, previous, ...more] = await source.read()
    assert.deepEqual(current, { text: 'two', version: second })
    assert.equal(previous?.text, 'one')
    const untilMs = previous?.acceptedUntilMs ?? 0
    assert.ok(untilMs >= beforeMs + SETTINGS.awsPreviousMs)
    assert.ok(untilMs <= Date.now() + SETTINGS.awsPreviousMs)
    assert.deepEqual(more, [])
    const again = (await source.read())[1]
    assert.equal(again?.acceptedUntilMs, untilMs, 'it does not get longer with each read')
  },

  async 'a gateway that did not see it counts from when the newer version was made'(aws, t) {
    const first = await aws.create('unseen', 'one')
    const second = await aws.put('unseen', 'two', 'AWSPENDING')
    await aws.promote('unseen', first, second)
    const [, previous] = await (await sourceOf(t, 'unseen')).read()
    assert.ok((previous?.acceptedUntilMs ?? Infinity) <= Date.now() + SETTINGS.awsPreviousMs)
  },

  async 'a secret that is not there, and one that is deleted, are told apart'(aws, t) {
    const absent = await faultOf((await sourceOf(t, 'nowhere')).read())
    assert.match(
      absent.message,
      /^aws:nowhere: there is no such secret.*; look at its name, and at AWS_REGION/,
    )
    assert.equal(absent.isTemporary, false)
    await aws.create('gone', 'one')
    await aws.client.send(new DeleteSecretCommand({ SecretId: 'gone' }))
    const gone = await faultOf((await sourceOf(t, 'gone')).read())
    assert.match(gone.message, /marked for deletion.*restore-secret/)
    const truth = await truthOf(t, 'gone')
    assert.match((await faultOf(truth.readCurrent())).message, /marked for deletion/)
    assert.match(
      (await faultOf(truth.write('two', 'absent'))).message,
      /marked for deletion|InvalidRequest/,
    )
  },

  async 'the first write makes the secret, and the next goes on from it'(aws, t) {
    const truth = await truthOf(t, 'made')
    const nothing = await truth.readCurrent()
    assert.equal(nothing.text, undefined)
    assert.equal(await truth.write('one', nothing.version), true)
    const one = await truth.readCurrent()
    assert.equal(one.text, 'one')
    assert.equal(await truth.write('two', one.version), true)
    const two = await truth.readCurrent()
    assert.equal(two.text, 'two')
    assert.deepEqual(await aws.labels('made'), {
      [two.version]: ['AWSCURRENT'],
      [one.version]: ['AWSPREVIOUS'],
    })
  },

  async 'a write that comes too late changes nothing and leaves no label behind'(aws, t) {
    const first = await aws.create('late', 'one')
    const truth = await truthOf(t, 'late')
    const { version } = await truth.readCurrent()
    const second = await aws.put('late', 'by another')
    assert.equal(await truth.write('mine', version), false)
    assert.equal(await truth.write('mine', 'absent'), false)
    assert.equal((await truth.readCurrent()).text, 'by another')
    assert.deepEqual(await aws.labels('late'), {
      [second]: ['AWSCURRENT'],
      [first]: ['AWSPREVIOUS'],
    })
  },

  async 'of several writers at once one wins'(aws, t) {
    await aws.create('raced', 'zero')
    const names = ['a', 'b', 'c', 'd', 'e', 'f']
    const truths = await Promise.all(names.map(() => truthOf(t, 'raced')))
    const { version } = await (await truthOf(t, 'raced')).readCurrent()
    const wins = await Promise.all(
      truths.map((truth, index) => truth.write(names[index] ?? '', version)),
    )
    assert.equal(wins.filter((hasWon) => hasWon).length, 1)
    const { text } = await (await truthOf(t, 'raced')).readCurrent()
    assert.equal(text, names[wins.indexOf(true)])
    const labels = Object.values(await aws.labels('raced')).flat()
    assert.deepEqual(labels.toSorted(), ['AWSCURRENT', 'AWSPREVIOUS'])
  },

  async 'a write that is tried again, though it was done, is one write'(aws, t) {
    await aws.create('again', 'one')
    const truth = await truthOf(t, 'again')
    const { version } = await truth.readCurrent()
    assert.equal(await truth.write('two', version), true)
    assert.equal(await truth.write('two', version), true)
    assert.equal(Object.keys(await aws.labels('again')).length, 2)
  },

  async 'a set that AWS would not take is told before it is sent'(aws, t) {
    await aws.create('large', 'one')
    const truth = await truthOf(t, 'large')
    const { version } = await truth.readCurrent()
    const { message } = await faultOf(truth.write('x'.repeat(65_537), version))
    assert.match(message, /the new value has 65537 bytes, and AWS takes 65536/)
    assert.equal(await truth.write('x'.repeat(65_536), version), true)
  },

  async 'a token is delivered alone, again, and into a secret that is made for it'(aws, t) {
    const delivery = await deliveryTo(t, 'aws:agent/token')
    assert.equal(await delivery.check(), 'would make the secret aws:agent/token with the token')
    assert.equal(await delivery.deliver(TOKEN), 'wrote the token to aws:agent/token')
    assert.equal(await textOf(t, 'agent/token'), TOKEN.token)
    assert.equal(await delivery.deliver(TOKEN), 'aws:agent/token has the token already')
    assert.match(await delivery.check(), /would replace the value/)
    assert.equal(Object.keys(await aws.labels('agent/token')).length, 1)
  },

  async 'a token is delivered into a field, and the others stay'(aws, t) {
    await aws.create('fields', '{"user":"me","token":"old","nested":{"a":1}}')
    const delivery = await deliveryTo(t, 'aws:fields#token')
    assert.match(await delivery.check(), /would replace the field token/)
    await delivery.deliver(TOKEN)
    const expected = { user: 'me', token: TOKEN.token, nested: { a: 1 } }
    assert.deepEqual(JSON.parse((await textOf(t, 'fields')) ?? ''), expected)
    await (await deliveryTo(t, 'aws:new-fields#otel')).deliver(TOKEN)
    assert.deepEqual(JSON.parse((await textOf(t, 'new-fields')) ?? ''), { otel: TOKEN.token })
  },

  async 'what would be lost is not overwritten'(aws, t) {
    await aws.create('other', '{"user":"me","password":"hidden-in-the-secret"}')
    await aws.create('set', '{"tokens":[]}')
    await aws.create('plain', 'hidden-in-the-secret')
    const refusals = [
      ['aws:other', /holds fields that would be lost; name one, such as aws:other#token$/],
      ['aws:set', /holds a token set; deliver to a secret of its own$/],
      ['aws:plain#token', /is no JSON object.*; leave out #token$/],
    ] as const
    for (const [place, words] of refusals) {
      const delivery = await deliveryTo(t, place)
      for (const doing of [() => delivery.check(), () => delivery.deliver(TOKEN)]) {
        const { message } = await faultOf(doing())
        assert.match(message, words)
        assert.ok(!message.includes('hidden-in-the-secret'))
      }
    }
    assert.equal(await textOf(t, 'plain'), 'hidden-in-the-secret')
  },
}

test('secrets of AWS', async (t) => {
  if (!hasTools(t, 'ministack')) return
  const aws = await startSecretsManager(t)
  for (const [title, check] of Object.entries(CHECKS))
    await t.test(title, (inner) => check(aws, inner))
})
