/** What `tollgate check` says of places that tokens come from. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { runCheck } from '../../../src/commands/check.ts'
import { AwsAnswers } from '../../support/aws-answers.ts'
import { useAws } from '../../support/aws-settings.ts'
import { tokenSet } from '../../support/gateway.ts'

const TOKEN = 'a-token-of-the-tests-0123456789abcdef'

async function check(t: TestContext, env: Readonly<Record<string, string>>) {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-check-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  await writeFile(join(folder, 'tokens.json'), tokenSet([{ token: TOKEN, id: 'mine' }]))
  let out = ''
  await runCheck([], {
    stdout: { write: (text: string) => (out += text) },
    stderr: { write: () => true },
    stdin: (async function* () {})(),
    env: {
      TOLLGATE_STATE_DIR: join(folder, 'state'),
      TOLLGATE_COLLECTOR_HTTP: 'http://127.0.0.1:1',
      FOLDER: folder,
      ...Object.fromEntries(
        Object.entries(env).map(([name, value]) => [
          `TOLLGATE_${name}`,
          value.replace('FOLDER', folder),
        ]),
      ),
    },
  })
  return out.replaceAll(folder, 'FOLDER')
}

test('every place is looked at, and all of them together', async (t) => {
  const aws = await AwsAnswers.start(t)
  useAws(t, aws.address)
  aws.hold({ AWSCURRENT: 'another-token-of-the-tests-0123456789' })
  const out = await check(t, { TOKENS_SOURCE: 'file:FOLDER/tokens.json,aws:otel' })
  assert.match(out, /^ok {4}tokens: 1 current \(FOLDER\/tokens\.json\)$/m)
  assert.match(out, /^ok {4}tokens: 1 current \(aws:otel\)$/m)
  assert.match(out, /^ok {4}tokens: 2 current \(FOLDER\/tokens\.json and aws:otel\)$/m)
})

test('each trouble is told by itself', async (t) => {
  const aws = await AwsAnswers.start(t)
  useAws(t, aws.address)
  aws.refuse('AccessDeniedException')
  const out = await check(t, {
    TOKENS_SOURCE: 'file:FOLDER/tokens.json,aws:otel,vault:secret/otel',
    VAULT_ADDR: 'http://127.0.0.1:1',
    VAULT_TOKEN: 'hidden',
    VAULT_CA: 'FOLDER/no-ca.pem',
  })
  assert.match(out, /^ok {4}tokens: 1 current \(FOLDER\/tokens\.json\)$/m)
  assert.match(out, /^BAD {3}tokens: cannot read FOLDER\/no-ca\.pem: no such file/m)
  assert.doesNotMatch(out, /hidden/)
})

test('a place that refuses, and one that is away', async (t) => {
  const aws = await AwsAnswers.start(t)
  useAws(t, aws.address)
  aws.refuse('AccessDeniedException')
  const out = await check(t, {
    TOKENS_SOURCE: 'aws:otel,vault:secret/otel',
    VAULT_ADDR: 'http://127.0.0.1:1',
    VAULT_TOKEN: 'hidden',
  })
  assert.match(out, /^BAD {3}tokens: aws:otel: .*allow secretsmanager:GetSecretValue/m)
  assert.match(out, /^BAD {3}tokens: vault:secret\/otel: .*connection refused/m)
})
