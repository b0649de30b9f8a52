/**
 * The bearer token of OpenTelemetry's OTLP exporters, from a file with one token in it. The file is
 * looked at before each request, so a token that is replaced there is in use with the next one.
 */
import { readFileSync, statSync } from 'node:fs'

const HTTP_UNAUTHORIZED = 401
const GRPC_UNAUTHENTICATED = 16

export class TokenFile {
  #path
  #seen = ''
  #token = ''

  constructor(path) {
    this.#path = path
  }

  /** The token of now. A file that is missing or empty for a moment leaves the last one. */
  get token() {
    try {
      const { mtimeNs, ino, size } = statSync(this.#path, { bigint: true })
      const seen = `${mtimeNs} ${ino} ${size}`
      if (seen === this.#seen) return this.#token
      const token = readFileSync(this.#path, 'utf8').trim()
      if (token === '') throw new Error(`${this.#path} is empty; expected a token`)
      this.#token = token
      this.#seen = seen
    } catch (error) {
      if (this.#token === '') throw error
    }
    return this.#token
  }

  /** `headers` of the HTTP exporters. */
  headers = async () => ({ Authorization: `Bearer ${this.token}` })

  /** `credentials` of the gRPC exporters; `grpc` is the module `@grpc/grpc-js`, `ca` a PEM file. */
  credentials(grpc, ca) {
    const generate = (_call, done) => {
      try {
        const metadata = new grpc.Metadata()
        metadata.set('authorization', `Bearer ${this.token}`)
        done(null, metadata)
      } catch (error) {
        done(error)
      }
    }
    return grpc.credentials.combineChannelCredentials(
      grpc.credentials.createSsl(ca === undefined ? null : readFileSync(ca)),
      grpc.credentials.createFromMetadataGenerator(generate),
    )
  }

  /** An exporter that sends a batch once more if it is refused while the token is being replaced. */
  again(exporter) {
    const send = exporter.export.bind(exporter)
    exporter.export = (batch, done) => {
      const sent = this.token
      send(batch, (result) => {
        const code = result.error?.code
        const isRefused = code === HTTP_UNAUTHORIZED || code === GRPC_UNAUTHENTICATED
        if (isRefused && this.token !== sent) send(batch, done)
        else done(result)
      })
    }
    return exporter
  }
}
