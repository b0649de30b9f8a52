/**
 * A stand-in for the few calls of Docker's API by which Traefik's Docker provider learns of containers:
 * so the labels of a compose file are read by Traefik itself, where no Docker engine runs.
 */
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'

export interface LabelledContainer {
  readonly name: string
  readonly labels: readonly string[]
  /** Its address in the one network it has. */
  readonly address: string
  /** As an image's EXPOSE. */
  readonly ports: readonly number[]
}

export interface DockerApi {
  close(): Promise<void>
}

const NETWORK = 'app'
const API_VERSION = '1.43'

/** Listens on a unix socket and tells of these containers. */
export async function startDockerApi(
  socketPath: string,
  containers: readonly LabelledContainer[],
): Promise<DockerApi> {
  const streams = new Set<ServerResponse>()
  const server = createServer((request, response) => {
    const path = (request.url ?? '').replace(/^\/v[\d.]+/, '').replace(/\?.*$/, '')
    response.setHeader('api-version', API_VERSION)
    const send = (value: unknown, status = 200) => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(JSON.stringify(value))
    }
    const asked = /^\/containers\/([^/]+)\/json$/.exec(path)?.[1]
    const named = containers.find(({ name }) => name === asked)
    if (path === '/_ping') response.end('OK')
    else if (path === '/version') send({ Version: '24.0.0', ApiVersion: API_VERSION })
    else if (path === '/containers/json') send(containers.map(shortOf))
    else if (named !== undefined) send(inspectionOf(named))
    else if (path === '/events') {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.flushHeaders()
      streams.add(response)
    } else send({ message: `page not found: ${path}` }, 404)
  })
  server.listen(socketPath)
  await once(server, 'listening')
  return {
    async close() {
      for (const stream of streams) stream.destroy()
      server.closeAllConnections()
      const closed = once(server, 'close')
      server.close()
      await closed
    },
  }
}

function labelsOf({ labels }: LabelledContainer): Record<string, string> {
  return Object.fromEntries(
    labels.map((label) => {
      const at = label.indexOf('=')
      return [label.slice(0, at), label.slice(at + 1)]
    }),
  )
}

function networksOf({ address }: LabelledContainer) {
  return { [NETWORK]: { NetworkID: NETWORK, IPAddress: address, IPPrefixLen: 8 } }
}

function shortOf(container: LabelledContainer) {
  return {
    Id: container.name,
    Names: [`/${container.name}`],
    State: 'running',
    Labels: labelsOf(container),
    HostConfig: { NetworkMode: NETWORK },
    NetworkSettings: { Networks: networksOf(container) },
  }
}

function inspectionOf(container: LabelledContainer) {
  return {
    Id: container.name,
    Name: `/${container.name}`,
    State: { Status: 'running', Running: true },
    Config: { Labels: labelsOf(container) },
    HostConfig: { NetworkMode: NETWORK },
    NetworkSettings: {
      Ports: Object.fromEntries(container.ports.map((port) => [`${port}/tcp`, null])),
      Networks: networksOf(container),
    },
  }
}
