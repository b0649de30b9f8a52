import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Running, start } from '../processes.ts'
import type { Contestant, Protocol, Setting } from './contestant.ts'
import type { ProgramSetting } from './programs/admission.ts'

const PROGRAMS = join(import.meta.dirname, 'programs')

/** Starts one of the programs beside this file, on one port. */
function startProgram(file: string, protocol: Protocol, setting: Setting): Promise<Running> {
  const { certificate, tokens, directory } = setting
  const isGrpc = protocol === 'grpc'
  const port = isGrpc ? setting.grpcPort : setting.httpPort
  const collectorPort = isGrpc ? setting.collectorGrpcPort : setting.collectorHttpPort
  const { certPath, keyPath } = certificate
  const program: ProgramSetting = { port, collectorPort, certPath, keyPath, tokens }
  return start(
    [
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      join(PROGRAMS, file),
      JSON.stringify(program),
    ],
    { directory, ports: [port] },
  )
}

function versionOf(name: string): string {
  const path = join(import.meta.dirname, '../../node_modules', name, 'package.json')
  return String(JSON.parse(readFileSync(path, 'utf8')).version)
}

/** What the same work costs with Node's own HTTP/2, streams piped to streams. */
export const nodeHttp2: Contestant = {
  name: 'node:http2',
  isPassThrough: true,
  protocols: ['grpc'],
  version: () => process.versions.node,
  start: (setting) => startProgram('node-http2.ts', 'grpc', setting),
}

/** And with the gRPC library for Node. */
export const grpcJs: Contestant = {
  name: 'grpc-js',
  isPassThrough: false,
  protocols: ['grpc'],
  share: 0.2,
  version: () => versionOf('@grpc/grpc-js'),
  start: (setting) => startProgram('grpc-js.ts', 'grpc', setting),
}

/** The usual way to build an HTTP/1.1 proxy in Node. */
export const fastify: Contestant = {
  name: 'Fastify + undici',
  isPassThrough: true,
  protocols: ['http'],
  version: () => versionOf('fastify'),
  start: (setting) => startProgram('fastify.ts', 'http', setting),
}

/** No proxy, but what an open TLS connection takes in Node whoever uses it. */
export const bareTls: Contestant = {
  name: 'bare tls.Server',
  isPassThrough: false,
  protocols: ['grpc'],
  version: () => process.versions.node,
  start: (setting) => startProgram('bare-tls.ts', 'grpc', setting),
}
