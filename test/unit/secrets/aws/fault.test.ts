/** Every way in which AWS refuses is told in words, through the official SDK. */
import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import { AwsSource } from '../../../../src/secrets/aws/source.ts'
import type { Place } from '../../../../src/secrets/place.ts'
import { SourceFault } from '../../../../src/secrets/source-fault.ts'
import { AwsAnswers } from '../../../support/aws-answers.ts'
import { useAws } from '../../../support/aws-settings.ts'

const PLACE: Place = { scheme: 'aws', path: 'otel', field: undefined, text: 'aws:otel' }
const HIDDEN = 'arn:aws:iam::123456789012:user/somebody'

let answers: AwsAnswers
const ends: (() => unknown)[] = []
/** Hooks of the file take the place of a test's. */
const whole: Pick<TestContext, 'after'> = {
  after: (end) => void ends.unshift(end as () => unknown),
}

before(async () => {
  answers = await AwsAnswers.start(whole)
  useAws(whole, answers.address)
})

after(async () => {
  for (const end of ends) await end()
})

async function faultOf(): Promise<SourceFault> {
  const source = await AwsSource.open(PLACE, { previousMs: 1000 })
  const thrown: unknown = await source.read().then(
    () => assert.fail('nothing was thrown'),
    (error: unknown) => error,
  )
  await source.close()
  assert.ok(thrown instanceof SourceFault, String(thrown))
  assert.ok(thrown.message.startsWith('aws:otel: '), thrown.message)
  return thrown
}

/** The name, what AWS says beside it, whether it may pass, and our words. */
const REFUSALS: readonly (readonly [string, string, boolean, RegExp])[] = [
  [
    'ResourceNotFoundException',
    'cannot find',
    false,
    /no such secret.*look at its name, and at AWS_REGION/,
  ],
  [
    'AccessDeniedException',
    `${HIDDEN} is not authorized`,
    false,
    /\(AccessDeniedException\); allow secretsmanager:GetSecretValue on this secret/,
  ],
  ['AccessDeniedException', 'Access to KMS is not allowed', false, /allow kms:Decrypt/],
  [
    'InvalidRequestException',
    'it was marked for deletion',
    false,
    /marked for deletion.*restore-secret/,
  ],
  ['InvalidRequestException', 'something else', false, /does not take the request/],
  ['InvalidParameterException', 'bad name', false, /does not take the request/],
  ['DecryptionFailure', 'KMS', false, /KMS key cannot decrypt it.*kms:Decrypt/],
  [
    'UnrecognizedClientException',
    'The security token is invalid',
    false,
    /does not know these credentials.*AWS_ACCESS_KEY_ID/,
  ],
  [
    'InvalidSignatureException',
    'The signature does not match',
    false,
    /does not know these credentials/,
  ],
  [
    'InvalidSignatureException',
    'Signature expired: 20261122T000000Z is now earlier',
    false,
    /clock .* too far apart.*NTP/,
  ],
  ['RequestTimeTooSkewed', 'skewed', false, /clock .* too far apart.*NTP/],
  ['ExpiredTokenException', 'expired', false, /credentials have expired/],
  ['ThrottlingException', 'Rate exceeded', true, /asked too often.*TOLLGATE_TOKENS_POLL/],
  ['InternalServiceError', 'oops', true, /trouble of its own/],
  ['SomethingNewException', 'who knows', false, /AWS refuses \(SomethingNewException\)/],
]

describe('what AWS refuses', () => {
  for (const [name, message, isTemporary, words] of REFUSALS)
    it(`is told in words: ${name}, ${message.slice(0, 30)}`, async () => {
      answers.refuse(name, message)
      const fault = await faultOf()
      assert.match(fault.message, words)
      assert.equal(fault.isTemporary, isTemporary)
      assert.ok(!fault.message.includes(HIDDEN))
    })

  for (const [name, body] of [
    ['half an answer', '{"VersionId":"a","SecretStr'],
    ['a page of a proxy', '<html>Sign in</html>'],
    ['an answer without a value', '{"VersionId":"a"}'],
  ] as const)
    it(`is told in words: ${name}`, async () => {
      answers.say(body)
      const fault = await faultOf()
      assert.match(fault.message, /the answer is not one of AWS/)
      assert.equal(fault.isTemporary, true)
    })

  it('is told in words: nobody there', async () => {
    await answers.goAway()
    const fault = await faultOf()
    await answers.comeBack()
    assert.match(fault.message, /cannot be reached \(ECONNREFUSED\).*AWS_ENDPOINT_URL/)
    assert.equal(fault.isTemporary, true)
  })

  it('is told in words: no region, no credentials', async () => {
    const { AWS_REGION, AWS_ACCESS_KEY_ID, HOME } = process.env
    try {
      process.env.HOME = '/nowhere'
      delete process.env.AWS_REGION
      assert.match((await faultOf()).message, /no AWS region is set.*AWS_REGION/)
      process.env.AWS_REGION = AWS_REGION
      delete process.env.AWS_ACCESS_KEY_ID
      assert.match((await faultOf()).message, /there are no AWS credentials/)
    } finally {
      Object.assign(process.env, { AWS_REGION, AWS_ACCESS_KEY_ID, HOME })
    }
  })
})

describe('a secret of AWS', () => {
  it('is asked in the order in which labels move', async () => {
    answers.hold({ AWSCURRENT: 'b', AWSPENDING: 'cc', AWSPREVIOUS: 'aaa' }, 5000)
    const source = await AwsSource.open(PLACE, { previousMs: 1000 })
    const versions = await source.read()
    await source.close()
    assert.deepEqual(
      versions.map(({ text, acceptedUntilMs }) => [text, acceptedUntilMs]),
      [
        ['b', undefined],
        ['cc', undefined],
        ['aaa', 6000],
      ],
    )
  })

  it('is whole: a field of it is no source', async () => {
    const place = { ...PLACE, field: 'token', text: 'aws:otel#token' }
    await assert.rejects(AwsSource.open(place, { previousMs: 1 }), {
      message: 'aws:otel#token: a token set takes the whole secret; leave out #token',
    })
  })
})
