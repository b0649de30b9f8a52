/** A real Collector as the agent in front of an SDK, with what a file of its own tells it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Child } from '../../support/child.ts'
import { freePorts } from '../../support/otelcol.ts'
import { tool } from '../../support/tools.ts'
import { type Kind, type Load, type Sender, startSender, type Target } from './run.ts'

/**
 * Starts a collector that sends on by the kind's protocol, and an SDK that sends to it. It is done when
 * the collector has ended, too, and reports what both have logged.
 */
export async function startBehindAgent(
  { protocol }: Kind,
  target: Target,
  load: Load,
): Promise<Sender> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-agent-'))
  const [port] = await freePorts(1)
  const receiver = `127.0.0.1:${port}`
  const isGrpc = protocol === 'grpc'
  const exporter = isGrpc ? 'otlp_grpc' : 'otlp_http'
  const pipeline = { receivers: ['otlp'], exporters: [exporter] }
  const config = join(folder, 'config.json')
  const settings = {
    receivers: { otlp: { protocols: { http: { endpoint: receiver } } } },
    exporters: {
      [exporter]: {
        endpoint: isGrpc ? new URL(target.endpoint).host : target.endpoint,
        headers: { authorization: `Bearer ${target.token}` },
        tls: { ca_file: target.certificate },
      },
    },
    service: {
      telemetry: { metrics: { level: 'none' } },
      pipelines: { traces: pipeline, metrics: pipeline, logs: pipeline },
    },
  }
  await writeFile(config, JSON.stringify(settings), { mode: 0o600 })
  const [program, ...args] = [...(target.front ?? []), tool('otelcol'), '--config', config]
  const collector = new Child(program ?? '', args)
  const end = async () => {
    collector.kill('SIGTERM')
    await collector.exit
    await rm(folder, { recursive: true })
  }
  try {
    const isReady = (line: string) => line.includes('Everything is ready') || undefined
    await collector.line('stderr', isReady)
  } catch (error) {
    await end()
    throw error
  }
  const sdk: Kind = { language: 'go', protocol: 'http/protobuf' }
  const { run, started, done } = startSender(sdk, { endpoint: `http://${receiver}` }, load)
  const ended = done.then(
    async (report) => {
      await end()
      const logged = collector.stderr.filter((line) => /\t(warn|error)\t/.test(line))
      return { ...report, logged: [...report.logged, ...logged] }
    },
    async (error: unknown) => {
      await end()
      throw error
    },
  )
  ended.catch(() => {})
  return { run, started, done: ended }
}
