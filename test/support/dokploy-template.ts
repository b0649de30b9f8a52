/**
 * What Dokploy makes of a template, as its source does it (0.30): helpers are filled in, the rest is
 * looked up among the variables, and what is unknown stays as it is, without a word. Dokploy itself
 * cannot run in tests.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parseEnv } from 'node:util'
import { parse } from 'smol-toml'
import { parse as parseYaml, stringify } from 'yaml'

/** A template.toml, read. */
export interface Template {
  readonly variables?: Readonly<Record<string, string>>
  readonly config: {
    readonly env?: readonly string[]
    readonly domains?: readonly Domain[]
    readonly mounts?: readonly Mount[]
  }
}

export interface Domain {
  readonly serviceName: string
  readonly port: number
  readonly host: string
}

/** A file that lands below `../files/` of the compose file. */
export interface Mount {
  readonly filePath: string
  readonly content: string
}

/** What an import leaves in the database. */
export interface Imported {
  readonly compose: string
  /** The text of the Environment. */
  readonly env: string
  readonly domains: readonly Domain[]
  readonly mounts: readonly Mount[]
}

/** Names that Dokploy fills in by itself, some with a number or more behind a colon. */
const HELPERS: Readonly<Record<string, (argument: number | undefined) => string>> = {
  domain: () => `app-${randomBytes(3).toString('hex')}-192-0-2-1.sslip.io`,
  base64: (bytes = 32) => randomBytes(bytes).toString('base64'),
  password: (length = 16) => hex(length),
  hash: (length = 8) => hex(length),
  uuid: () => randomUUID(),
  timestamp: () => String(Date.now()),
  timestampms: () => String(Date.now()),
  timestamps: () => String(Math.round(Date.now() / 1000)),
  randomPort: () => String(20_000 + Math.floor(Math.random() * 40_000)),
  jwt: (bytes = 32) => hex(bytes * 2),
  username: () => 'somebody',
  email: () => 'somebody@example.com',
}

function hex(length: number): string {
  return randomBytes(Math.ceil(length / 2))
    .toString('hex')
    .slice(0, length)
}

/** Whether a name between `${` and `}` is one of Dokploy's own. */
export function isHelper(name: string): boolean {
  return Object.hasOwn(HELPERS, name.split(':')[0] ?? '')
}

export function readTemplate(toml: string): Template {
  return parse(toml) as unknown as Template
}

/** What `compose.import` does with its text. Throws where the text is none. */
export function importTemplate(base64: string, appName: string): Imported {
  const decoded: unknown = JSON.parse(Buffer.from(base64, 'base64').toString('utf8'))
  const { compose, config } = decoded as { readonly compose?: string; readonly config?: string }
  if (typeof compose !== 'string' || typeof config !== 'string')
    throw new Error('Invalid template format. Must contain compose and config fields')
  const template = readTemplate(config)
  const variables: Record<string, string> = { APP_NAME: appName }
  for (const [name, value] of Object.entries(template.variables ?? {}))
    variables[name] = fill(value, variables)
  const { env = [], domains = [], mounts = [] } = template.config
  return {
    compose,
    env: env.map((line) => fill(line, variables)).join('\n'),
    domains: domains.map((domain) => ({ ...domain, host: fill(domain.host, variables) })),
    mounts: mounts.map(({ filePath, content }) => ({
      filePath: fill(filePath, variables),
      content: fill(content, variables),
    })),
  }
}

function fill(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replace(/\$\{([^}]+)\}/g, (whole, name: string) => {
    const [helper = '', argument] = name.split(':')
    const make = HELPERS[helper]
    if (make === undefined) return variables[name] ?? whole
    return make(argument === undefined ? undefined : Number(argument))
  })
}

/** A compose file as `docker compose` reads it beside the `.env` that Dokploy writes. */
export function interpolate(compose: string, env: string): string {
  const variables = parseEnv(env)
  return compose.replace(
    /\$\$|\$\{([A-Z_]+)(?::([-?])([^}]*))?\}/g,
    (whole, name: string | undefined, how: string | undefined, rest: string) => {
      if (name === undefined) return whole === '$$' ? '$' : whole
      const value = variables[name] ?? ''
      if (value !== '') return value
      if (how === '?') throw new Error(`required variable ${name} is missing a value: ${rest}`)
      return how === '-' ? rest : ''
    },
  )
}

interface DeployedService {
  networks?: string[]
  labels?: string[]
}

/**
 * The compose file that a deployment runs. Dokploy reads it and writes it anew, without comments. An
 * isolated deployment puts every service into one network that it has made, of the name of the app; a
 * domain becomes labels.
 */
export function asDeployed({ compose, domains }: Imported, appName: string): string {
  const parsed = parseYaml(compose) as {
    services: Record<string, DeployedService>
    networks?: unknown
  }
  for (const service of Object.values(parsed.services))
    service.networks = [...(service.networks ?? []), appName]
  parsed.networks = { [appName]: { name: appName, external: true } }
  for (const { serviceName, host, port } of domains) {
    const service = parsed.services[serviceName]
    if (service === undefined) throw new Error(`${serviceName} does not exist in the compose`)
    const router = `${appName}-1-web`
    service.labels = [
      `traefik.docker.network=${appName}`,
      `traefik.http.routers.${router}.rule=Host(\`${host}\`)`,
      `traefik.http.routers.${router}.entrypoints=web`,
      `traefik.http.services.${router}.loadbalancer.server.port=${port}`,
      `traefik.http.routers.${router}.service=${router}`,
      'traefik.enable=true',
      ...(service.labels ?? []),
    ]
  }
  return stringify(parsed, { lineWidth: 1000 })
}

/**
 * Lays the files out as a deployment does: `compose/APP/code` with the compose file and `.env`, and
 * `compose/APP/files`. Resolves with the path of `code`.
 */
export async function layOut(base: string, appName: string, imported: Imported): Promise<string> {
  const code = join(base, 'compose', appName, 'code')
  await mkdir(code, { recursive: true })
  await writeFile(join(code, 'docker-compose.yml'), asDeployed(imported, appName))
  // Comments go, and every value loses its quotes.
  const lines = Object.entries(parseEnv(imported.env)).map(([name, value]) => `${name}=${value}`)
  await writeFile(join(code, '.env'), lines.join('\n'))
  for (const { filePath, content } of imported.mounts) {
    const path = join(code, '../files', filePath)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, content)
  }
  return code
}
