/** The gateway behind a Traefik that is set up by the files of docker/dokploy/, and its clients. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { parse } from 'yaml'
import { blueprintOf } from '../../docker/dokploy/import.ts'
import { Client, type ClientOptions, type Export } from '../support/client.ts'
import { interpolate } from '../support/dokploy-template.ts'
import { eventually } from '../support/eventually.ts'
import type { Gateway } from '../support/spawn-gateway.ts'
import { ROOT } from '../support/tools.ts'
import type { Traefik, TraefikOptions } from '../support/traefik.ts'

export const WAYS = ['passthrough', 'http-router'] as const
export type Way = (typeof WAYS)[number]
export const FORMS = ['file', 'labels'] as const
export type Form = (typeof FORMS)[number]

/** Two honest machines, each with a token of its own, and those who guess and forge. */
export const HONEST = [
  { address: '127.0.0.2', holder: 'two', token: 'a-token-of-machine-two-0123456789' },
  { address: '127.0.0.3', holder: 'three', token: 'a-token-of-machine-three-0123456789' },
] as const
export const GUESSER = '127.0.0.4'
export const FORGER = '127.0.0.9'

export interface Tollgate {
  readonly environment: Readonly<Record<string, string | null>>
  readonly labels: readonly string[]
}

/** The gateway's service as the import text for a way brings it, for a host name. */
export async function serviceOf(way: Way, host: string): Promise<Tollgate> {
  const { compose } = await blueprintOf(way)
  const env = `TOLLGATE_TLS_DOMAIN=${host}\nGRAFANA_ADMIN_PASSWORD=unused`
  return (parse(interpolate(compose, env)) as { services: { tollgate: Tollgate } }).services
    .tollgate
}

export function settingsOf({ environment }: Tollgate): Record<string, string> {
  const ofWay = ['TOLLGATE_TLS', 'TOLLGATE_CLIENT_ADDRESS'].flatMap((name) => {
    const value = environment[name]
    return typeof value === 'string' ? [[name, value] as const] : []
  })
  const own: Record<string, string> = Object.fromEntries(ofWay)
  if (own.TOLLGATE_TLS === 'off')
    Object.assign(own, { TOLLGATE_TLS_CERT: '', TOLLGATE_TLS_KEY: '' })
  return own
}

export function portOf(address: string): string {
  return address.slice(address.lastIndexOf(':') + 1)
}

/** What Traefik is given: the file, or the labels of the container. */
export function frontOf(way: Way, form: Form, service: Tollgate, gateway: Gateway): TraefikOptions {
  // As Dokploy keeps certificates that were uploaded. Where TLS is passed through nobody sees it.
  const certificate = JSON.stringify({
    tls: {
      certificates: [
        { certFile: join(gateway.folder, 'test.pem'), keyFile: join(gateway.folder, 'test.key') },
      ],
    },
  })
  // What a Domain of Dokploy with HTTPS makes of port 80.
  const domain = JSON.stringify({
    http: {
      routers: {
        domain: {
          rule: 'Host(`localhost`)',
          entryPoints: ['web'],
          middlewares: ['redirect-to-https'],
          service: 'noop@internal',
        },
      },
    },
  })
  const files = { 'certificate.yml': certificate, 'domain.yml': domain }
  const [grpc, http] = [portOf(gateway.grpc), portOf(gateway.http)]
  if (form === 'file') {
    const text = readFileSync(join(ROOT, `docker/dokploy/traefik/${way}.yml`), 'utf8')
      .replaceAll('otlp.example.com', 'localhost')
      .replaceAll('tollgate:4317', `127.0.0.1:${grpc}`)
      .replaceAll('tollgate:4318', `127.0.0.1:${http}`)
    return { files: { ...files, 'tollgate.yml': text } }
  }
  const labels = service.labels.map((label) =>
    label.replace(/port=4317$/, `port=${grpc}`).replace(/port=4318$/, `port=${http}`),
  )
  const ports = [Number(grpc), Number(http)]
  return { files, containers: [{ name: 'tollgate', labels, address: '127.0.0.1', ports }] }
}

export async function routed(traefik: Traefik, way: Way): Promise<void> {
  await eventually(async () => {
    const { routers = {}, tcpRouters = {} } = await traefik.rawData()
    const known = Object.entries(way === 'passthrough' ? tcpRouters : routers)
    return known.some(([name, { status }]) => name.startsWith('tollgate') && status === 'enabled')
  }, `a router for the gateway: ${traefik.output()}`)
}

export interface Scene {
  readonly t: TestContext
  readonly way: Way
  readonly gateway: Gateway
  readonly traefik: Traefik
}

/** A client in front of Traefik, or with `address` of the gateway itself. */
export function clientOf(
  { t, way, gateway, traefik }: Scene,
  options: Partial<ClientOptions>,
): Client {
  const client = new Client({
    way: 'HTTP/1.1',
    address: `localhost:${traefik.websecure}`,
    caPem: readFileSync(gateway.certificate, 'utf8'),
    token: HONEST[0].token,
    ...options,
    tls: {
      ...(way === 'passthrough'
        ? { cert: readFileSync(gateway.clientCertificate), key: readFileSync(gateway.clientKey) }
        : {}),
      ...options.tls,
    },
  })
  t.after(() => client.close())
  return client
}

export async function statusOf(client: Client, request: Export = {}): Promise<number | string> {
  try {
    const { httpStatus } = await client.send(request)
    return httpStatus
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}
