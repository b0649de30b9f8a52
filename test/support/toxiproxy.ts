/** Toxiproxy between a client and a real server: slow, cut off, half answers, away and back. */
import type { TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Child } from './child.ts'
import { freePorts } from './otelcol.ts'
import { tool } from './tools.ts'

const START_MS = 15_000

/** One way through the proxy. */
export interface Relay {
  /** `127.0.0.1:port`, to be used instead of the server's. */
  readonly address: string
  /**
   * Spoils the way, downstream (answers) unless told otherwise, for connections from now on and those
   * there are. Types and their attributes are Toxiproxy's: `latency` {latency} ms, `bandwidth` {rate}
   * kB/s, `timeout` {timeout} ms (0: nothing arrives, and nothing ends), `reset_peer` {timeout},
   * `limit_data` {bytes}.
   */
  spoil(
    type: string,
    attributes: Readonly<Record<string, number>>,
    stream?: 'downstream' | 'upstream',
  ): Promise<void>
  /** Takes all of that away. */
  mend(): Promise<void>
  /** Refuses connections, and ends those there are; or is there again. */
  setAway(isAway: boolean): Promise<void>
}

export interface Toxiproxy {
  /** A new way to `upstream` (`host:port`). */
  relayTo(upstream: string): Promise<Relay>
}

/** Starts Toxiproxy on free ports of 127.0.0.1; it ends with the test. */
export async function startToxiproxy(t: TestContext): Promise<Toxiproxy> {
  const [port] = await freePorts(1)
  const child = new Child(tool('toxiproxy-server'), ['-host', '127.0.0.1', '-port', String(port)])
  t.after(async () => {
    child.kill('SIGKILL')
    await child.exit
  })
  const api = `http://127.0.0.1:${port}`
  await untilReady(api, child)
  let relays = 0
  const ask = async (method: string, path: string, body?: unknown) => {
    const answer = await fetch(`${api}${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`toxiproxy: ${method} ${path}: ${answer.status} ${text}`)
    return text === '' ? {} : (JSON.parse(text) as Readonly<Record<string, unknown>>)
  }
  return {
    async relayTo(upstream) {
      relays += 1
      const name = `relay-${relays}`
      const made = await ask('POST', '/proxies', { name, listen: '127.0.0.1:0', upstream })
      const address = String(made.listen)
      const toxics: string[] = []
      return {
        address,
        async spoil(type, attributes, stream = 'downstream') {
          const toxic = `${type}-${toxics.length}`
          const body = { name: toxic, type, stream, attributes }
          await ask('POST', `/proxies/${name}/toxics`, body)
          toxics.push(toxic)
        },
        async mend() {
          for (const toxic of toxics.splice(0))
            await ask('DELETE', `/proxies/${name}/toxics/${toxic}`)
        },
        async setAway(isAway) {
          // The port is given, or a new one would be taken when it comes back.
          await ask('POST', `/proxies/${name}`, { listen: address, upstream, enabled: !isAway })
        },
      }
    },
  }
}

async function untilReady(api: string, child: Child): Promise<void> {
  const limitMs = performance.now() + START_MS
  while (performance.now() < limitMs && !child.hasEnded) {
    const answer = await fetch(`${api}/version`).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.ok === true) return
    await pause(20)
  }
  throw new Error(`toxiproxy is not ready: ${child.output}`)
}
