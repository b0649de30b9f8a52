/** One secret in AWS Secrets Manager: its versions read and written by their labels. */
import type * as Sdk from '@aws-sdk/client-secrets-manager'
import type { Place } from '../place.ts'
import { SourceFault } from '../source-fault.ts'
import { type AwsAction, awsFault, nameOf } from './fault.ts'

/** Labels that AWS gives meaning to. */
export type Stage = 'AWSCURRENT' | 'AWSPENDING' | 'AWSPREVIOUS'

/** One version of a secret. */
export interface SecretVersion {
  readonly id: string
  readonly text: string
  readonly createdMs: number
}

/** So long for a connection, and for one try of a request. The SDK tries three times. */
const CONNECT_MS = 3000
const REQUEST_MS = 8000
const PACKAGE = '@aws-sdk/client-secrets-manager'

export class AwsSecret {
  readonly place: string
  readonly #sdk: typeof Sdk
  readonly #client: Sdk.SecretsManagerClient
  readonly #id: string

  private constructor(place: Place, sdk: typeof Sdk) {
    this.place = place.text
    this.#id = place.path
    this.#sdk = sdk
    const requestHandler = {
      connectionTimeout: CONNECT_MS,
      requestTimeout: REQUEST_MS,
      throwOnRequestTimeout: true,
    }
    // Its messages go to the console, past the log.
    const logger = { debug: silent, info: silent, warn: silent, error: silent }
    this.#client = new sdk.SecretsManagerClient({ requestHandler, logger })
  }

  /**
   * Loads the SDK and makes its client; region, credentials and endpoint are found by the SDK's own
   * rules, when they are first needed. @throws {SourceFault} where the SDK is not installed.
   */
  static async open(place: Place): Promise<AwsSecret> {
    try {
      return new AwsSecret(place, await import('@aws-sdk/client-secrets-manager'))
    } catch (error) {
      if (Object(error).code !== 'ERR_MODULE_NOT_FOUND')
        throw awsFault(place.text, 'GetSecretValue', error)
      throw new SourceFault(
        place.text,
        'the package for AWS is not installed',
        `install it beside Tollgate with npm install ${PACKAGE}`,
        { isTemporary: false, cause: error },
      )
    }
  }

  /**
   * The version that has a label; undefined where there is no secret, or none has it. The label is
   * always sent: not every server that speaks this protocol knows what stands for none.
   * @throws {SourceFault} in words.
   */
  async read(stage: Stage, signal?: AbortSignal): Promise<SecretVersion | undefined> {
    try {
      const { GetSecretValueCommand: Get } = this.#sdk
      const command = new Get({ SecretId: this.#id, VersionStage: stage })
      const answer = await this.#client.send(command, abortedBy(signal))
      const { VersionId: id, SecretString, SecretBinary, CreatedDate } = answer
      const text = SecretString ?? (SecretBinary && Buffer.from(SecretBinary).toString('utf8'))
      if (id === undefined || text === undefined) throw new SyntaxError('no value')
      return { id, text, createdMs: CreatedDate?.getTime() ?? 0 }
    } catch (error) {
      if (nameOf(error) === 'ResourceNotFoundException') return undefined
      throw this.#fault('GetSecretValue', error)
    }
  }

  /** Makes the secret with its first version; false where there is one already. @throws {SourceFault} */
  async create(text: string, id: string): Promise<boolean> {
    const { CreateSecretCommand: Create } = this.#sdk
    const command = new Create({ Name: this.#id, SecretString: text, ClientRequestToken: id })
    return await this.#unless('CreateSecret', ['ResourceExistsException'], () =>
      this.#client.send(command),
    )
  }

  /**
   * Adds a version under a label of its own. A first version becomes AWSCURRENT by itself. Doing so
   * twice is as good as once. @throws {SourceFault}
   */
  async put(text: string, id: string, label: string): Promise<void> {
    const { PutSecretValueCommand: Put } = this.#sdk
    const command = new Put({
      SecretId: this.#id,
      SecretString: text,
      ClientRequestToken: id,
      VersionStages: [label],
    })
    await this.#unless('PutSecretValue', [], () => this.#client.send(command))
  }

  /**
   * Moves a label `from` a version `to` another; undefined for where it was, or goes, nowhere. False
   * where it is not there any more. @throws {SourceFault}
   */
  async move(label: string, from: string | undefined, to: string | undefined): Promise<boolean> {
    const { UpdateSecretVersionStageCommand: Update } = this.#sdk
    const command = new Update({
      SecretId: this.#id,
      VersionStage: label,
      RemoveFromVersionId: from,
      MoveToVersionId: to,
    })
    // The version it was at may be gone altogether by then.
    const names = [
      'InvalidParameterException',
      'InvalidRequestException',
      'ResourceNotFoundException',
    ]
    return await this.#unless('UpdateSecretVersionStage', names, () => this.#client.send(command))
  }

  close(): void {
    this.#client.destroy()
  }

  /** False for the errors named, except where the secret is being deleted. */
  async #unless(
    action: AwsAction,
    names: readonly string[],
    call: () => Promise<unknown>,
  ): Promise<boolean> {
    try {
      await call()
      return true
    } catch (error) {
      const name = nameOf(error)
      const isDeleted = /delet/i.test(error instanceof Error ? error.message : '')
      if (name !== undefined && names.includes(name) && !isDeleted) return false
      throw this.#fault(action, error)
    }
  }

  #fault(action: AwsAction, error: unknown): Error {
    return awsFault(this.place, action, error)
  }
}

function abortedBy(signal: AbortSignal | undefined): { abortSignal?: AbortSignal } {
  return signal === undefined ? {} : { abortSignal: signal }
}

function silent(): void {}
