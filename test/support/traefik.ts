/** A real Traefik, set up as Dokploy sets up its own, on free ports of 127.0.0.1. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Child } from './child.ts'
import { type LabelledContainer, startDockerApi } from './docker-containers.ts'
import { eventually } from './eventually.ts'
import { freePorts } from './otelcol.ts'
import { tool } from './tools.ts'

export interface TraefikOptions {
  /** Files in the folder that Dokploy calls `traefik/dynamic`, by name. */
  readonly files?: Readonly<Record<string, string>>
  /** What its Docker provider sees. */
  readonly containers?: readonly LabelledContainer[]
  /** Port of `websecure`. Default a free one. */
  readonly websecure?: number
  /** The ACME directory of the resolver `letsencrypt`; as shipped one that does not answer. */
  readonly acme?: { readonly directory: string; readonly caPath: string; readonly httpPort: number }
}

export interface Traefik {
  /** Ports of the entry points `web` and `websecure`. */
  readonly web: number
  readonly websecure: number
  /** The folder with acme.json and the files. */
  readonly dynamic: string
  /** What it has made of files and labels, by its API. */
  rawData(): Promise<RawData>
  output(): string
}

interface Router {
  readonly entryPoints?: readonly string[]
  readonly rule?: string
  readonly service?: string
  readonly status?: string
  readonly tls?: unknown
  readonly error?: readonly string[]
}

export interface RawData {
  readonly routers?: Readonly<Record<string, Router>>
  readonly tcpRouters?: Readonly<Record<string, Router>>
  readonly services?: Readonly<Record<string, { readonly loadBalancer?: unknown }>>
  readonly tcpServices?: Readonly<Record<string, { readonly loadBalancer?: unknown }>>
}

/** What Dokploy puts beside every installation. */
const MIDDLEWARES = {
  http: {
    middlewares: { 'redirect-to-https': { redirectScheme: { scheme: 'https', permanent: true } } },
  },
}

/** Starts it and waits until it answers. It ends with the test. */
export async function startTraefik(t: TestContext, options: TraefikOptions): Promise<Traefik> {
  const { files = {}, containers = [], acme } = options
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-traefik-'))
  const dynamic = join(folder, 'dynamic')
  const socket = join(folder, 'docker.sock')
  mkdirSync(dynamic)
  const [free = 0, api = 0, closed = 0, web = 0] = await freePorts(4)
  const { websecure = free } = options
  const webPort = acme?.httpPort ?? web
  // JSON is YAML.
  writeFileSync(join(dynamic, 'middlewares.yml'), JSON.stringify(MIDDLEWARES))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dynamic, name), text)
  const docker = await startDockerApi(socket, containers)
  writeFileSync(
    join(folder, 'traefik.yml'),
    JSON.stringify({
      global: { checkNewVersion: false, sendAnonymousUsage: false },
      log: { level: 'INFO' },
      api: { insecure: true },
      ping: {},
      entryPoints: {
        traefik: { address: `127.0.0.1:${api}` },
        web: { address: `127.0.0.1:${webPort}` },
        websecure: {
          address: `127.0.0.1:${websecure}`,
          http: { tls: { certResolver: 'letsencrypt' } },
        },
      },
      providers: {
        docker: {
          endpoint: `unix://${socket}`,
          exposedByDefault: false,
          watch: true,
          network: 'dokploy-network',
        },
        file: { directory: dynamic, watch: true },
      },
      certificatesResolvers: {
        letsencrypt: {
          acme: {
            email: 'ops@example.test',
            storage: join(dynamic, 'acme.json'),
            caServer: acme?.directory ?? `https://127.0.0.1:${closed}/`,
            keyType: 'EC256',
            httpChallenge: { entryPoint: 'web' },
          },
        },
      },
    }),
  )
  const child = new Child(tool('traefik'), [`--configFile=${join(folder, 'traefik.yml')}`], {
    cwd: folder,
    env: {
      ...process.env,
      ...(acme === undefined ? {} : { LEGO_CA_CERTIFICATES: acme.caPath }),
    },
  })
  t.after(async () => {
    child.kill('SIGTERM')
    await child.exit
    await docker.close()
    rmSync(folder, { recursive: true, force: true })
  })
  await eventually(async () => {
    if (child.hasEnded) throw new Error(child.output)
    const answer = await fetch(`http://127.0.0.1:${api}/ping`).catch(() => undefined)
    return answer?.ok
  }, 'Traefik answer')
  return {
    web: webPort,
    websecure,
    dynamic,
    async rawData() {
      return (await (await fetch(`http://127.0.0.1:${api}/api/rawdata`)).json()) as RawData
    },
    output: () => child.output,
  }
}
