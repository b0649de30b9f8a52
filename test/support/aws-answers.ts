/**
 * A stand-in for AWS Secrets Manager that only answers `GetSecretValue`, and answers what the test
 * says: built from the API reference (JSON 1.1 over POST, errors named in `__type`). For what neither
 * AWS nor `ministack.ts` can be brought to say here: refusals, throttling, skewed clocks, nonsense.
 */
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'

/** What each label of the one secret stands for. */
export type Stages = Readonly<Partial<Record<'AWSCURRENT' | 'AWSPENDING' | 'AWSPREVIOUS', string>>>

export class AwsAnswers {
  readonly #server: Server
  #port = 0
  #answer: (stage: string, response: ServerResponse) => void = (_, response) =>
    refuse(response, 'ResourceNotFoundException', 'There is no such secret.', 400)

  constructor() {
    this.#server = createServer((request, response) => {
      let body = ''
      request.setEncoding('utf8').on('data', (piece: string) => {
        body += piece
      })
      request.on('end', () => this.#answer(JSON.parse(body).VersionStage, response))
    })
  }

  /** Starts it on a free port of 127.0.0.1; it ends with the test. */
  static async start(t: Pick<TestContext, 'after'>): Promise<AwsAnswers> {
    const answers = new AwsAnswers()
    await answers.comeBack()
    t.after(() => answers.goAway())
    return answers
  }

  /** `127.0.0.1:port`; stays the same. */
  get address(): string {
    return `127.0.0.1:${this.#port}`
  }

  /** From now on the secret has these versions. */
  hold(stages: Stages, createdMs = Date.now()): void {
    const texts: Readonly<Record<string, string | undefined>> = stages
    this.#answer = (stage, response) => {
      const text = texts[stage]
      if (text === undefined)
        return refuse(response, 'ResourceNotFoundException', 'No such label.', 400)
      const [id] = Object.entries(texts).find(([, other]) => other === text) ?? ['']
      return send(response, 200, {
        VersionId: `version-${id}-${text.length}`.padEnd(32, '-'),
        SecretString: text,
        CreatedDate: createdMs / 1000,
      })
    }
  }

  /** From now on it refuses. */
  refuse(name: string, message = 'No.', status = 400): void {
    this.#answer = (_, response) => refuse(response, name, message, status)
  }

  /** From now on it answers this, whatever it is. */
  say(body: string): void {
    this.#answer = (_, response) => response.end(body)
  }

  /** From now on it takes requests and never answers. */
  stall(): void {
    this.#answer = () => {}
  }

  /** Refuses connections. */
  async goAway(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async comeBack(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject).listen(this.#port, '127.0.0.1', resolve)
    })
    this.#port = (this.#server.address() as AddressInfo).port
  }
}

function refuse(response: ServerResponse, name: string, message: string, status: number): void {
  send(response, status, { __type: name, message })
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' })
  response.end(JSON.stringify(body))
}
