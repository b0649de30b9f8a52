/**
 * AWS Secrets Manager for the tests: ministack, as AWS itself cannot run here. It keeps the labels of
 * versions as AWS documents them; it knows no permissions and no keys, so what AWS refuses for those
 * is played by `aws-answers.ts`. The official SDK is the client.
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import * as Sdk from '@aws-sdk/client-secrets-manager'
import { useAws } from './aws-settings.ts'
import { Child } from './child.ts'
import { freePorts } from './otelcol.ts'
import { tool } from './tools.ts'

const START_MS = 60_000

/** Secrets as an operator changes them. */
export interface SecretsManager {
  /** `127.0.0.1:port`. */
  readonly address: string
  readonly client: Sdk.SecretsManagerClient
  /** Makes a secret; returns the id of its version. */
  create(name: string, text: string): Promise<string>
  /** Adds a version with a label (AWSCURRENT unless told otherwise); returns its id. */
  put(name: string, text: string, label?: string): Promise<string>
  /** Makes a version current, as the last step of a rotation does. */
  promote(name: string, from: string, to: string): Promise<void>
  /** The labels of each version that has any. */
  labels(name: string): Promise<Readonly<Record<string, readonly string[]>>>
}

/** Starts it on a free port of 127.0.0.1, and points the SDK to it; it ends with the test. */
export async function startSecretsManager(t: TestContext): Promise<SecretsManager> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-aws-'))
  const [port] = await freePorts(1)
  const address = `127.0.0.1:${port}`
  const child = new Child(tool('ministack'), [], {
    cwd: folder,
    env: {
      ...process.env,
      HOME: folder,
      SERVICES: 'secretsmanager',
      GATEWAY_PORT: String(port),
      BIND_HOST: '127.0.0.1',
    },
  })
  t.after(async () => {
    child.kill('SIGKILL')
    await child.exit
    await rm(folder, { recursive: true, force: true })
  })
  await untilReady(`http://${address}`, child)
  useAws(t, address)
  const client = new Sdk.SecretsManagerClient({})
  t.after(() => client.destroy())
  return {
    address,
    client,
    async create(name, text) {
      const made = await client.send(
        new Sdk.CreateSecretCommand({ Name: name, SecretString: text }),
      )
      return made.VersionId ?? ''
    },
    async put(name, text, label = 'AWSCURRENT') {
      const id = randomBytes(16).toString('hex')
      await client.send(
        new Sdk.PutSecretValueCommand({
          SecretId: name,
          SecretString: text,
          ClientRequestToken: id,
          VersionStages: [label],
        }),
      )
      return id
    },
    async promote(name, from, to) {
      await client.send(
        new Sdk.UpdateSecretVersionStageCommand({
          SecretId: name,
          VersionStage: 'AWSCURRENT',
          RemoveFromVersionId: from,
          MoveToVersionId: to,
        }),
      )
    },
    async labels(name) {
      const found = await client.send(new Sdk.DescribeSecretCommand({ SecretId: name }))
      const versions = Object.entries(found.VersionIdsToStages ?? {})
      return Object.fromEntries(versions.filter(([, stages]) => stages.length > 0))
    },
  }
}

async function untilReady(origin: string, child: Child): Promise<void> {
  const limitMs = performance.now() + START_MS
  while (performance.now() < limitMs && !child.hasEnded) {
    const answer = await fetch(`${origin}/_ministack/health`).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.ok === true) return
    await pause(50)
  }
  throw new Error(`ministack is not ready: ${child.output}`)
}
