/** Reads the token of an agent, in plain, from where it was delivered to. Loads nothing that the place does not need. */
import { currentValue } from './dotenv.ts'
import { readTextFile } from './file-edit.ts'
import { FileFault } from './file-fault.ts'
import type { PlaceSettings } from './open-source.ts'
import type { Place } from './place.ts'
import { SourceFault } from './source-fault.ts'

/** What the places need besides their names. */
export interface AgentTokenOptions {
  readonly env: Readonly<Record<string, string | undefined>>
  /** How Vault and AWS are reached; asked for only where the place is there. */
  readonly settings: () => Promise<PlaceSettings>
}

/** The variable of the environment that is read where none is named. */
const DEFAULT_VARIABLE = 'OTEL_EXPORTER_OTLP_HEADERS'
/** The field of a secret that is read where none is named. */
const DEFAULT_FIELD = 'token'
/** A header longer than that is taken by few servers. */
const MAX_TOKEN_LENGTH = 8192

/**
 * The token alone, whether the place holds it so, as `Bearer …`, or as `Authorization` among the
 * headers of an exporter (`Authorization=Bearer%20…,name=value`).
 *
 * @throws {SourceFault} or {FileFault}, in words without the token: the place is away or empty, or
 * what it holds is no token.
 */
export async function readAgentToken(place: Place, options: AgentTokenOptions): Promise<string> {
  const value = (await valueAt(place, options))?.trim()
  if (value === undefined || value === '') {
    const problem = value === undefined ? 'there is nothing there' : 'what is there is empty'
    throw fault(place, problem, 'deliver a token to it, or name another place')
  }
  const token = tokenIn(value)
  if (token === undefined)
    throw fault(
      place,
      'it holds headers, and no Authorization=Bearer%20… among them',
      'add it, or name the variable with the token',
    )
  if (token.length > MAX_TOKEN_LENGTH || !/^[\x21-\x7e]+$/.test(token))
    throw fault(
      place,
      `what it holds is no token: expected one word of at most ${MAX_TOKEN_LENGTH} letters, digits and signs`,
      place.field === undefined && /[=\n{]/.test(value)
        ? `name the part with the token, as ${place.text}#NAME`
        : 'look at what was written there',
    )
  return token
}

async function valueAt(place: Place, options: AgentTokenOptions): Promise<string | undefined> {
  const { scheme, path, field } = place
  switch (scheme) {
    case 'file': {
      const text = await readTextFile(path)
      if (text === undefined) {
        const message = `cannot read ${path}: no such file or directory`
        throw new FileFault(path, message, 'ENOENT', undefined)
      }
      return field === undefined ? text : currentValue(text, field)
    }
    case 'env':
      return options.env[field ?? DEFAULT_VARIABLE]
    case 'keyring': {
      const [, service, user] = /^(.+)\/([^/]+)$/.exec(path) ?? []
      if (service === undefined || user === undefined || field !== undefined)
        throw fault(
          place,
          'an item of a keyring has a service and a user, and no part behind a #',
          'write keyring:SERVICE/USER',
        )
      const { readKeyring } = await import('./keyring/read.ts')
      return await readKeyring(service, user)
    }
    case 'vault':
      return await readVault(place, options)
    case 'aws':
      return await readAws(place)
    default:
      throw fault(
        place,
        'an agent cannot read its token from there',
        'expected one of file:, env, keyring:, vault:, aws:',
      )
  }
}

async function readVault(
  place: Place,
  { settings }: AgentTokenOptions,
): Promise<string | undefined> {
  const { openVault } = await import('./open-source.ts')
  const { Secret } = await import('./vault/secret.ts')
  const { atPlace } = await import('./vault/fault.ts')
  const client = await openVault(place, await settings())
  try {
    const secret = new Secret(client, place)
    return await atPlace(place.text, async () => {
      const reading = await secret.read()
      if (reading.kind === 'deleted') throw secret.deletion(reading)
      return reading.kind === 'present' ? fieldOf(reading.data, place) : undefined
    })
  } finally {
    await client.close()
  }
}

/** The value itself, or one field where it is a JSON object. */
async function readAws(place: Place): Promise<string | undefined> {
  const { AwsSecret } = await import('./aws/secrets.ts')
  const secret = await AwsSecret.open(place)
  try {
    const text = (await secret.read('AWSCURRENT'))?.text
    const fields = text === undefined ? undefined : objectIn(text)
    if (fields !== undefined) return fieldOf(fields, place)
    if (place.field === undefined || text === undefined) return text
    throw fault(
      place,
      'the secret is no JSON object, and so has no fields',
      `leave out #${place.field}`,
    )
  } finally {
    secret.close()
  }
}

function objectIn(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isObject ? { ...value } : undefined
  } catch {
    return undefined
  }
}

function fieldOf(fields: Readonly<Record<string, unknown>>, place: Place): string {
  const name = place.field ?? DEFAULT_FIELD
  const value = Object.hasOwn(fields, name) ? fields[name] : undefined
  if (typeof value === 'string') return value
  const names = Object.keys(fields).slice(0, 10)
  throw fault(
    place,
    `it has no text in a field ${name}; it has ${names.length === 0 ? 'none at all' : names.join(', ')}`,
    'name another behind the #',
  )
}

/** Undefined for headers without a bearer token. */
function tokenIn(value: string): string | undefined {
  const header = value.split(',').findLast((pair) => /^\s*authorization\s*=/i.test(pair))
  if (header === undefined)
    return /^[\w-]+=[^=]/.test(value) ? undefined : value.replace(/^bearer\s+/i, '')
  const written = header.slice(header.indexOf('=') + 1).trim()
  return /^bearer\s+(.*)$/is.exec(decoded(written))?.[1]
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function fault(place: Place, problem: string, advice: string): SourceFault {
  return new SourceFault(place.text, problem, advice, { isTemporary: false })
}
