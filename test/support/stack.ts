/** The compose stack as it is shipped, started in an engine of its own as docs/compose.md tells. */
import { chown, cp, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { writeCertificate } from './certs.ts'
import { type Engine, hasDocker, startEngine } from './docker-engine.ts'
import { reach } from './docker-reach.ts'
import { importStack, STACK_TOOLS } from './stack-images.ts'
import { ROOT } from './tools.ts'

export interface Stack {
  readonly engine: Engine
  /** The folder of compose.yml. */
  readonly folder: string
  /** Runs `docker compose …` in the folder of the stack. Throws where it fails. */
  compose(...args: string[]): Promise<string>
  /** A `host:port` of the test's own for a port of a service that is not published. */
  inside(service: string, port: number): Promise<string>
  /** The CA of the gateway's certificate, which is for localhost. */
  readonly caPem: string
  /** A token of the holder `web-shop`. */
  readonly token: string
}

/** What `docker inspect` says of a container, as far as tests ask. */
export interface Inspected {
  readonly Name: string
  readonly Config: { readonly User: string }
  readonly HostConfig: {
    readonly ReadonlyRootfs: boolean
    readonly CapDrop: readonly string[]
    readonly SecurityOpt: readonly string[]
    readonly Memory: number
    readonly NanoCpus: number
    readonly PidsLimit: number
    readonly LogConfig: { readonly Config: Readonly<Record<string, string>> }
  }
  readonly NetworkSettings: {
    readonly Networks: Readonly<
      Record<string, { readonly IPAddress: string; readonly GlobalIPv6Address: string }>
    >
  }
  readonly State: { readonly Running: boolean; readonly ExitCode: number }
}

export interface StackOptions {
  /** Further compose files, in the folder of compose.yml. Default those of a certificate in files. */
  readonly files?: readonly string[]
  /** What .env has besides. */
  readonly settings?: Readonly<Record<string, string>>
  /** Does something before the first command, such as putting files into the folder of compose.yml. */
  readonly prepare?: (engine: Engine, folder: string) => Promise<void>
}

/** The compose files of a stack that has its certificate from files. */
export const WITH_CERTIFICATE: readonly string[] = ['compose.certificates.yml']

/**
 * What is not here: Grafana, whose image cannot be had, and the right to allow more open files than
 * the machine's own limit.
 */
const ABSENT = `services:
  tollgate: { ulimits: !reset {} }
  grafana: { profiles: [absent] }
`

const GATEWAY_USER = 65532

/** Whether the stack can be started here; the test is skipped if not, and fails where CI=true. */
export function hasStack(t: TestContext, ...further: string[]): boolean {
  return hasDocker(t, ...STACK_TOOLS, ...further)
}

/** Starts it and waits until it is healthy. It ends with the test. */
export async function startStack(t: TestContext, options: StackOptions = {}): Promise<Stack> {
  // As Docker does by itself from version 27 on.
  const engine = await startEngine(t, ['--experimental', '--ip6tables'])
  await importStack(engine)
  const folder = join(engine.folder, 'docker')
  await cp(join(ROOT, 'docker'), folder, { recursive: true })
  await mkdir(join(folder, 'certificates'))
  const { certPath, keyPath, caPem } = await writeCertificate(engine.folder)
  for (const [from, to] of [
    [certPath, 'tls.crt'],
    [keyPath, 'tls.key'],
  ] as const)
    await cp(from, join(folder, 'certificates', to))
  await chown(join(folder, 'certificates', 'tls.key'), GATEWAY_USER, GATEWAY_USER)
  const files = ['compose.yml', ...(options.files ?? WITH_CERTIFICATE), 'absent.yml']
  await writeFile(join(folder, 'absent.yml'), ABSENT)
  await writeSettings(join(folder, '.env'), {
    COMPOSE_FILE: files.join(':'),
    TOLLGATE_DOMAIN: 'localhost',
    TOLLGATE_CERTIFICATES: './certificates',
    GRAFANA_ADMIN_PASSWORD: 'not-used-here',
    ...options.settings,
  })
  await options.prepare?.(engine, folder)
  const compose = (...args: string[]) => engine.compose(args, { cwd: folder })
  const create = ['token', 'create', '--holder', 'web-shop', '--expires-in', '90d']
  const printed = await compose('run', '--rm', '--no-deps', 'tollgate', ...create)
  const token = /tg_\S+/.exec(printed)?.[0]
  if (token === undefined) throw new Error(`no token in: ${printed}`)
  try {
    await compose('up', '--detach', '--wait')
  } catch (error) {
    const log = await compose('logs', '--no-color', '--tail=20')
    throw new Error(`the stack is not up:\n${log}`, { cause: error })
  }
  return {
    engine,
    folder,
    compose,
    caPem,
    token,
    async inside(service, port) {
      const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}'
      const id = (await compose('ps', '--quiet', service)).trim()
      const addresses = await engine.docker(['inspect', `--format=${format}`, id])
      const [address = ''] = addresses.trim().split(' ')
      return `127.0.0.1:${await reach(t, engine, address, port)}`
    },
  }
}

function writeSettings(path: string, settings: Readonly<Record<string, string>>): Promise<void> {
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`)
  return writeFile(path, lines.join(''))
}

/** All containers of the stack, stopped ones too. */
export async function inspected({ engine, compose }: Stack): Promise<readonly Inspected[]> {
  const ids = (await compose('ps', '--all', '--quiet')).trim().split('\n')
  return JSON.parse(await engine.docker(['inspect', ...ids]))
}
