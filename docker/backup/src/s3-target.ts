/** Copies in a bucket of S3, or of anything that speaks its protocol. */
import { type Readable, Transform } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  paginateListObjectsV2,
  S3Client,
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { parseSeal, type Seal } from './manifest.ts'
import { Meter } from './meter.ts'
import { type BackupName, parseName, sealOf } from './names.ts'
import type { S3Settings } from './settings.ts'
import { byAge, type Copy, type Parcel, type Target } from './target.ts'
import { StageFault, said, Unusable } from './unusable.ts'

/** S3 takes at most 10,000 parts, each but the last of 5 MiB at least. */
const MAX_PARTS = 9000
const LEAST_PART_BYTES = 8 * 1024 * 1024
/** Parts in memory at once. */
const PARTS_AT_ONCE = 2
const CONNECT_MS = 10_000
/** Without a byte either way. */
const SILENCE_MS = 60_000

export class S3Target implements Target {
  readonly kind = 's3'
  readonly where: string
  readonly #client: S3Client
  readonly #bucket: string
  readonly #prefix: string

  constructor({ bucket, prefix, endpoint, region, isPathStyle, credentials }: S3Settings) {
    this.where = `s3://${bucket}/${prefix}`
    this.#bucket = bucket
    this.#prefix = prefix
    this.#client = new S3Client({
      region,
      forcePathStyle: isPathStyle,
      maxAttempts: 4,
      requestHandler: { connectionTimeout: CONNECT_MS, socketTimeout: SILENCE_MS },
      // Others than AWS do not know its newer checksums. Ours is in the seal.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(credentials === undefined
        ? {}
        : {
            credentials: {
              accessKeyId: credentials.id.reveal(),
              secretAccessKey: credentials.key.reveal(),
            },
          }),
    })
  }

  async list(): Promise<readonly Copy[]> {
    const sizes = new Map<string, number>()
    await this.#asking('list', async () => {
      const pages = paginateListObjectsV2(
        { client: this.#client },
        { Bucket: this.#bucket, Prefix: this.#prefix },
      )
      for await (const { Contents = [] } of pages)
        for (const { Key = '', Size = 0 } of Contents) sizes.set(this.#plain(Key), Size)
    })
    const copies = [...sizes].flatMap(([archive, sizeBytes]) => {
      const name = parseName(archive)
      return name === undefined ? [] : [{ name, sizeBytes, isWhole: sizes.has(sealOf(archive)) }]
    })
    return copies.toSorted(byAge)
  }

  async seal({ archive }: BackupName): Promise<Seal> {
    const text = await this.#asking('read the seal', async () => {
      try {
        const { Body } = await this.#client.send(
          new GetObjectCommand({ Bucket: this.#bucket, Key: this.#key(sealOf(archive)) }),
        )
        return await Body?.transformToString()
      } catch (error) {
        if (isMissing(error))
          throw new Unusable(`${archive} has no seal in ${this.where}: it was never finished`)
        throw error
      }
    })
    return parseSeal(text ?? '', archive)
  }

  async open({ archive }: BackupName): Promise<Readable> {
    return await this.#asking('read', async () => {
      try {
        const { Body } = await this.#client.send(
          new GetObjectCommand({ Bucket: this.#bucket, Key: this.#key(archive) }),
        )
        if (Body === undefined) throw new Error('the answer has no body')
        return withoutSilence(Body as Readable, this.where)
      } catch (error) {
        if (isMissing(error)) throw new Unusable(`there is no ${archive} in ${this.where}`)
        throw error
      }
    })
  }

  async put(parcel: Parcel, signal: AbortSignal): Promise<Seal> {
    const { archive } = parcel.name
    const meter = new Meter()
    await this.#asking('write', async () => {
      const bytes = await parcel.open()
      const metered = bytes.pipe(
        new Transform({
          transform(chunk: Uint8Array, _encoding, done) {
            meter.add(chunk)
            done(undefined, chunk)
          },
        }),
      )
      bytes.once('error', (error) => metered.destroy(error))
      const upload = new Upload({
        client: this.#client,
        params: { Bucket: this.#bucket, Key: this.#key(archive), Body: metered },
        queueSize: PARTS_AT_ONCE,
        partSize: Math.max(LEAST_PART_BYTES, Math.ceil(parcel.unpackedBytes / MAX_PARTS)),
        leavePartsOnError: false,
      })
      const stop = () => void upload.abort()
      signal.addEventListener('abort', stop, { once: true })
      try {
        signal.throwIfAborted()
        await upload.done()
      } finally {
        signal.removeEventListener('abort', stop)
        bytes.destroy()
        metered.destroy()
      }
    })
    const seal: Seal = {
      version: 1,
      archive,
      sizeBytes: meter.bytes,
      sha256: meter.digest(),
      unpackedBytes: parcel.unpackedBytes,
    }
    await this.#asking('write the seal', () =>
      this.#client.send(
        new PutObjectCommand({
          Bucket: this.#bucket,
          Key: this.#key(sealOf(archive)),
          Body: `${JSON.stringify(seal)}\n`,
          ContentType: 'application/json',
        }),
      ),
    )
    return seal
  }

  async remove({ archive }: BackupName): Promise<void> {
    await this.#asking('remove', async () => {
      for (const name of [sealOf(archive), archive])
        await this.#client.send(
          new DeleteObjectCommand({ Bucket: this.#bucket, Key: this.#key(name) }),
        )
    })
  }

  /** Uploads that were never finished cost money, and no listing shows them. */
  async sweep(): Promise<number> {
    return await this.#asking('look for uploads left', async () => {
      const { Uploads = [] } = await this.#client.send(
        new ListMultipartUploadsCommand({ Bucket: this.#bucket, Prefix: this.#prefix }),
      )
      let count = 0
      for (const { Key = '', UploadId } of Uploads) {
        if (UploadId === undefined || parseName(this.#plain(Key)) === undefined) continue
        await this.#client.send(
          new AbortMultipartUploadCommand({ Bucket: this.#bucket, Key, UploadId }),
        )
        count += 1
      }
      return count
    })
  }

  #key(name: string): string {
    return `${this.#prefix}${name}`
  }

  #plain(key: string): string {
    return key.startsWith(this.#prefix) ? key.slice(this.#prefix.length) : ''
  }

  async #asking<T>(doing: string, ask: () => Promise<T>): Promise<T> {
    try {
      return await ask()
    } catch (error) {
      if (error instanceof Unusable || error instanceof StageFault) throw error
      throw new StageFault('s3', `${this.where}: cannot ${doing}: ${s3Words(error)}`, error)
    }
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && ['NoSuchKey', 'NotFound'].includes(error.name)
}

/** What S3 calls it goes before what it says: `AccessDenied: Access Denied.` */
function s3Words(error: unknown): string {
  const words = said(error)
  return error instanceof Error && error.name !== 'Error' && !words.startsWith(error.name)
    ? `${error.name}: ${words}`
    : words
}

/** Fails where a download stands still: a stream has no time limit of its own. */
function withoutSilence(body: Readable, where: string): Readable {
  let timer: NodeJS.Timeout
  const watch = new Transform({
    transform(chunk, _encoding, done) {
      timer.refresh()
      done(undefined, chunk)
    },
    destroy(error, done) {
      clearTimeout(timer)
      body.destroy()
      done(error)
    },
  })
  timer = setTimeout(() => {
    const seconds = SILENCE_MS / 1000
    watch.destroy(new StageFault('s3', `${where}: nothing came for ${seconds} s`))
  }, SILENCE_MS)
  body.once('error', (error) =>
    watch.destroy(new StageFault('s3', `${where}: the download broke off: ${said(error)}`, error)),
  )
  return body.pipe(watch)
}
