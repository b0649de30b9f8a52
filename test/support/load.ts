/** Clients that send one request after another and count what did not go well. */
import { readFile } from 'node:fs/promises'
import { Client, WAYS, type Way } from './client.ts'
import type { Gateway } from './spawn-gateway.ts'
import { TOKEN } from './spawn-gateway.ts'

/** Requests under way, until they are told to stop. */
export interface SteadyLoad {
  /** Requests answered well so far. */
  readonly accepted: number
  /** Stops after the requests under way; resolves with what went wrong, in words. */
  stop(): Promise<readonly string[]>
}

/** For each way in, a client that keeps its connection and one that connects anew for each request. */
export async function startLoad({ grpc, http, certificate }: Gateway): Promise<SteadyLoad> {
  const caPem = await readFile(certificate, 'utf8')
  const failures: string[] = []
  let accepted = 0
  let isStopped = false
  const connect = (way: Way) =>
    new Client({ way, address: way === 'gRPC' ? grpc : http, caPem, token: TOKEN })

  async function run(way: Way, keepsConnection: boolean): Promise<void> {
    let client = connect(way)
    while (!isStopped) {
      try {
        const { httpStatus, grpcStatus = 0 } = await client.send({ message: Buffer.from('steady') })
        if (httpStatus === 200 && grpcStatus === 0) accepted += 1
        else failures.push(`${way}: HTTP ${httpStatus}, gRPC ${grpcStatus}`)
      } catch (error) {
        failures.push(`${way}: ${error instanceof Error ? error.message : String(error)}`)
      }
      if (keepsConnection && failures.length === 0) continue
      client.close()
      client = connect(way)
    }
    client.close()
  }

  const runs = WAYS.flatMap((way) => [run(way, true), run(way, false)])
  return {
    get accepted() {
      return accepted
    },
    async stop() {
      isStopped = true
      await Promise.all(runs)
      return failures
    },
  }
}
