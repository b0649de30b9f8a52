/** A real server of S3's protocol, versitygw, that keeps objects as files of a folder. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Child } from './child.ts'
import { eventually } from './eventually.ts'
import { freePorts } from './otelcol.ts'
import { tool } from './tools.ts'

export interface S3Server {
  /** `host:port`; no TLS. */
  readonly address: string
  /** The folder of the bucket. */
  readonly files: string
  /** A line for each request that it has answered. */
  readonly requests: readonly string[]
  /** Settings of `tollgate-backup` for it, through another address if one is given. */
  env(address?: string): Readonly<Record<string, string>>
}

const BUCKET = 'backups'
const ACCESS = 'test-access'
const SECRET = 'test-secret-0123456789'

/** Starts it with an empty bucket; it ends with the test. */
export async function startS3(t: TestContext, folder: string): Promise<S3Server> {
  const files = join(folder, 's3', BUCKET)
  await mkdir(files, { recursive: true })
  const [port] = await freePorts(1)
  const address = `127.0.0.1:${port}`
  const child = new Child(tool('versitygw'), [
    ...['--port', address, '--access', ACCESS, '--secret', SECRET],
    ...['posix', join(folder, 's3')],
  ])
  t.after(async () => {
    child.kill('SIGKILL')
    await child.exit
  })
  await eventually(async () => {
    const answer = await fetch(`http://${address}/`).catch(() => undefined)
    await answer?.arrayBuffer()
    return answer !== undefined
  }, 'the S3 server')
  return {
    ...{ address, files, requests: child.stdout },
    env: (at = address) => ({
      TOLLGATE_BACKUP_S3_BUCKET: BUCKET,
      TOLLGATE_BACKUP_S3_ENDPOINT: `http://${at}`,
      TOLLGATE_BACKUP_S3_ACCESS_KEY_ID: ACCESS,
      TOLLGATE_BACKUP_S3_SECRET_ACCESS_KEY: SECRET,
    }),
  }
}
