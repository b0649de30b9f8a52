/** gRPC and HTTP clients (grpc-js, undici) that connect anew for each export, a few times a second. */

import { setTimeout as pause } from 'node:timers/promises'
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import { Agent, request } from 'undici'
import { NAME } from './pebble.ts'
import { spanMessage } from './span.ts'
import type { Gateway } from './spawn-gateway.ts'
import { TOKEN } from './spawn-gateway.ts'

const GRPC_PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const DEADLINE_MS = 20_000
/** Between two exports of one client. */
const PAUSE_MS = 100

export interface AcmeLoad {
  /** Exports that were acknowledged so far, each on a connection of its own. */
  readonly acknowledged: number
  /** Stops after what is under way; resolves with what went wrong, in words. */
  stop(): Promise<readonly string[]>
}

interface Sender {
  send(message: Buffer): Promise<void>
  close(): Promise<void>
}

/** One client each for gRPC and HTTP. */
export function startAcmeLoad(
  { grpc, http }: Pick<Gateway, 'grpc' | 'http'>,
  ca: string,
): AcmeLoad {
  const failures: string[] = []
  let acknowledged = 0
  let isStopped = false
  const run = async (make: () => Sender) => {
    for (let seq = 0; !isStopped; seq += 1) {
      const sender = make()
      try {
        await sender.send(spanMessage('acme', seq))
        acknowledged += 1
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error))
      }
      await sender.close()
      await pause(PAUSE_MS)
    }
  }
  const runs = [run(() => overGrpc(grpc, ca)), run(() => overHttp(http, ca))]
  return {
    get acknowledged() {
      return acknowledged
    },
    async stop() {
      isStopped = true
      await Promise.all(runs)
      return failures
    },
  }
}

function overGrpc(address: string, ca: string): Sender {
  const client = new Client(address, credentials.createSsl(Buffer.from(ca)), {
    'grpc.ssl_target_name_override': NAME,
    'grpc.default_authority': NAME,
    // A subchannel of another client would be shared otherwise.
    'grpc.use_local_subchannel_pool': 1,
  })
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${TOKEN}`)
  const same = (bytes: Buffer) => bytes
  return {
    send: (message) =>
      new Promise((resolve, reject) => {
        const deadline = Date.now() + DEADLINE_MS
        client.makeUnaryRequest(GRPC_PATH, same, same, message, metadata, { deadline }, (error) => {
          if (error) reject(new Error(`gRPC: ${error.message}`))
          else resolve()
        })
      }),
    close: async () => client.close(),
  }
}

function overHttp(address: string, ca: string): Sender {
  const agent = new Agent({ connect: { ca, servername: NAME }, connections: 1 })
  return {
    async send(message) {
      const { statusCode, body } = await request(`https://${address}/v1/traces`, {
        method: 'POST',
        dispatcher: agent,
        headers: {
          authorization: `Bearer ${TOKEN}`,
          'content-type': 'application/x-protobuf',
        },
        body: message,
        headersTimeout: DEADLINE_MS,
      })
      await body.arrayBuffer()
      if (statusCode !== 200) throw new Error(`HTTP: ${statusCode}`)
    },
    close: () => agent.close(),
  }
}
