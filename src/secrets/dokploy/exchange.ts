/**
 * One request to Dokploy's API and its answer, over undici: `GET` and `POST /api/<router>.<procedure>`
 * with the key in `x-api-key`, limits of time and size, and in words what the statuses mean.
 */
import { Agent, request } from 'undici'
import { DokployProblem, said } from './problem.ts'

export interface DokploySettings {
  /** Where Dokploy's pages are, such as `https://dokploy.example`. */
  readonly url: string
  /** Made under Settings, Profile, API/CLI Keys. Never in a message. */
  readonly apiKey: string
  /** Of one request, from its start to the end of its answer. Default 30 000. */
  readonly timeoutMs?: number | undefined
  /** From the request to deploy until the deployment has ended and its task runs. Default 600 000. */
  readonly deployTimeoutMs?: number | undefined
  /** Pause between two looks at a deployment. Default 3000. */
  readonly pollMs?: number | undefined
}

/** An object of an answer, to look into with care. */
export type Fields = Readonly<Record<string, unknown>>

/** Any value as an object; empty where it is none. */
export function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Fields)
    : {}
}

const TIMEOUT_MS = 30_000
/** A service comes with its last deployments, its mounts and the project it is in. */
const MAX_ANSWER_BYTES = 16 * 2 ** 20
const IDLE_MS = 4000

const KEY_OR_LIMIT =
  'either the key of TOLLGATE_DOKPLOY_API_KEY is wrong or expired, or its own rate limit is used up (10 calls in 24 h for a key made by the API without rateLimitEnabled: false, and each call counts twice): make a key without a rate limit under Settings, Profile, API/CLI Keys'

export class DokployExchange {
  readonly #base: string
  readonly #settings: DokploySettings
  readonly #agent = new Agent({ connections: 2, keepAliveTimeout: IDLE_MS })
  /** Environments that have been seen, so that none of their values is shown. */
  readonly #environments = new Set<string>()

  /** @throws {DokployProblem} where the address is none. */
  constructor(settings: DokploySettings) {
    this.#settings = settings
    const url = URL.canParse(settings.url) ? new URL(settings.url) : undefined
    if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '') {
      throw new DokployProblem(
        'the address of Dokploy is not a URL without user and password',
        'set TOLLGATE_DOKPLOY_URL, such as https://dokploy.example',
      )
    }
    if (!/^[\x21-\x7e]+$/.test(settings.apiKey)) {
      throw new DokployProblem(
        'the API key of Dokploy is empty or holds what no key holds',
        'set TOLLGATE_DOKPLOY_API_KEY, or TOLLGATE_DOKPLOY_API_KEY_FILE',
      )
    }
    this.#base = `${url.origin}${url.pathname.replace(/\/+(?:api\/?)?$/, '')}/api/`
  }

  /** Whether what is sent travels over a network without TLS. */
  get isInTheClear(): boolean {
    const { protocol, hostname } = new URL(this.#base)
    return protocol === 'http:' && !/^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname)
  }

  /** From now on values of this environment are not shown in messages. */
  hide(environment: string): void {
    this.#environments.add(environment)
  }

  /** @throws {DokployProblem} in words. */
  async get(procedure: string, query: Readonly<Record<string, string>>): Promise<unknown> {
    return await this.#ask('GET', `${procedure}?${new URLSearchParams(query)}`)
  }

  /** `timeoutMs`: for calls that may take longer than others. @throws {DokployProblem} in words. */
  async post(procedure: string, body: Fields, timeoutMs = 0): Promise<unknown> {
    return await this.#ask('POST', procedure, body, timeoutMs)
  }

  async close(): Promise<void> {
    await this.#agent.destroy()
  }

  async #ask(method: 'GET' | 'POST', path: string, body?: Fields, longerMs = 0): Promise<unknown> {
    const timeoutMs = Math.max(longerMs, this.#settings.timeoutMs ?? TIMEOUT_MS)
    const procedure = path.replace(/\?.*/, '')
    let status: number
    let type: string
    let text: string
    try {
      const answer = await request(`${this.#base}${path}`, {
        method,
        dispatcher: this.#agent,
        signal: AbortSignal.timeout(timeoutMs),
        headers: {
          'x-api-key': this.#settings.apiKey,
          accept: 'application/json',
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        body: body === undefined ? null : JSON.stringify(body),
      })
      status = answer.statusCode
      type = String(answer.headers['content-type'] ?? '').slice(0, 60)
      text = await textOf(answer.body)
    } catch (error) {
      if (error instanceof DokployProblem) throw error
      throw noAnswer(this.#base, procedure, timeoutMs, error)
    }
    const parsed = parse(text)
    if (status >= 200 && status < 300 && parsed !== undefined) return parsed.value
    throw this.#problem(procedure, status, type, parsed?.value)
  }

  #problem(procedure: string, status: number, type: string, value: unknown): DokployProblem {
    const { message, issues } = fieldsOf(value)
    const words = typeof message === 'string' ? message : ''
    const clean = said(words, this.#settings.apiKey, [...this.#environments])
    const quoted = clean === '' ? '' : ` (${clean})`
    const problem = (text: string, advice: string, isTemporary = false) =>
      new DokployProblem(`${procedure} answered ${status}${text}`, advice, { isTemporary, status })

    if (status >= 300 && status < 400) {
      return problem('', 'write the address in TOLLGATE_DOKPLOY_URL that it leads to, with https')
    }
    if (value === undefined) {
      const advice =
        'see whether TOLLGATE_DOKPLOY_URL is the address of Dokploy itself, and what stands in front of it'
      return problem(` with ${type || 'something'} that is not JSON`, advice, status >= 500)
    }
    // With a good key, 401 names what the key's owner may not do.
    if (status === 401 && /^unauthorized$/i.test(words)) return problem('', KEY_OR_LIMIT)
    if (status === 401 || status === 403) {
      const needs = PERMISSIONS[procedure] ?? 'read access to the service'
      return new DokployProblem(
        `${procedure} answered ${status}${quoted}`,
        `give the key's owner ${needs} in the organization of this service`,
        { status: 403 },
      )
    }
    if (status === 400) {
      const fields = issuePaths(issues)
      const which = fields === '' ? quoted : ` about ${fields}${quoted}`
      return problem(which, 'this Dokploy wants the call in another form: see its version')
    }
    if (status === 404) return problem(quoted, 'see whether the id is that of such a service')
    if (status === 429) return problem(quoted, 'a proxy limits requests: try again later', true)
    return problem(quoted, "see Dokploy's own log, and try again", status >= 500)
  }
}

/** What each call needs beyond reading; names as Dokploy's roles show them. */
const PERMISSIONS: Readonly<Record<string, string>> = {
  'application.saveEnvironment': 'the permission envVars: write',
  'compose.saveEnvironment': 'the permission envVars: write',
  'compose.update': 'the permission service: create',
  'application.reload': 'the permission deployment: create',
  'application.deploy': 'the permission deployment: create',
  'application.redeploy': 'the permission deployment: create',
  'compose.deploy': 'the permission deployment: create',
  'compose.redeploy': 'the permission deployment: create',
  'deployment.allByType': 'the permission deployment: read',
  'docker.getServiceContainersByAppName': 'the permission docker: read',
  'docker.getContainersByAppNameMatch': 'the permission docker: read',
  'mounts.one': 'the permission volume: read',
  'mounts.update': 'the permission volume: create',
}

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > MAX_ANSWER_BYTES) {
      throw new DokployProblem(
        `the answer is longer than ${MAX_ANSWER_BYTES} bytes`,
        'see whether TOLLGATE_DOKPLOY_URL is the address of Dokploy itself',
      )
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Some calls answer with nothing at all. */
function parse(text: string): { readonly value: unknown } | undefined {
  if (text === '') return { value: null }
  try {
    return { value: JSON.parse(text) }
  } catch {
    return undefined
  }
}

function issuePaths(issues: unknown): string {
  if (!Array.isArray(issues)) return ''
  const paths = issues.map((issue) => fieldsOf(issue).path)
  return paths
    .flatMap((path) => (Array.isArray(path) ? [path.join('.')] : []))
    .filter((path) => /^[\w.]{1,60}$/.test(path))
    .slice(0, 10)
    .join(', ')
}

function noAnswer(base: string, procedure: string, timeoutMs: number, cause: unknown) {
  const { name, code } = fieldsOf(cause)
  const why =
    name === 'TimeoutError' ? `no answer within ${timeoutMs / 1000} s` : `${code ?? 'no answer'}`
  return new DokployProblem(
    `cannot reach ${base}${procedure} (${why})`,
    'see whether Dokploy runs, whether TOLLGATE_DOKPLOY_URL is right, and whether its certificate is trusted',
    { isTemporary: true, cause },
  )
}
