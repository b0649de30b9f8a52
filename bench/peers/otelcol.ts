import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { start } from '../processes.ts'
import type { Contestant, Setting } from './contestant.ts'

const BINARY = join(import.meta.dirname, '../../.tools/bin/otelcol')

/** An OpenTelemetry Collector as the gateway, with bearertokenauth. It cannot count per address. */
export const otelcol: Contestant = {
  name: 'Collector',
  isPassThrough: false,
  share: 0.2,
  version() {
    if (!existsSync(BINARY)) throw new Error(`There is no ${BINARY}`)
    return spawnSync(BINARY, ['--version'], { encoding: 'utf8' }).stdout.replace(/^.* /, '').trim()
  },
  start(setting) {
    const configPath = join(setting.directory, 'otelcol.yaml')
    writeFileSync(configPath, config(setting))
    return start([BINARY, '--config', configPath], {
      directory: setting.directory,
      ports: [setting.grpcPort, setting.httpPort],
      env: { GOMAXPROCS: '1' },
    })
  },
}

/** Two pipelines, so that what comes over one protocol leaves over the same; no queue, so that it acknowledges what was delivered. */
function config(setting: Setting): string {
  const { certPath, keyPath } = setting.certificate
  const edge = (port: number) => `
        endpoint: 127.0.0.1:${port}
        auth: { authenticator: bearertokenauth }
        tls: { cert_file: ${certPath}, key_file: ${keyPath}, min_version: "1.3" }`
  return `
extensions:
  bearertokenauth: { tokens: [${setting.tokens.join(', ')}] }
receivers:
  otlp/grpc:
    protocols:
      grpc:${edge(setting.grpcPort)}
        max_recv_msg_size_mib: 64
        max_concurrent_streams: 1000
  otlp/http:
    protocols:
      http:${edge(setting.httpPort)}
exporters:
  otlp:
    endpoint: 127.0.0.1:${setting.collectorGrpcPort}
    compression: none
    tls: { insecure: true }
    sending_queue: { enabled: false }
    retry_on_failure: { enabled: false }
  otlphttp:
    endpoint: http://127.0.0.1:${setting.collectorHttpPort}
    compression: none
    sending_queue: { enabled: false }
    retry_on_failure: { enabled: false }
    max_idle_conns_per_host: 256
service:
  extensions: [bearertokenauth]
  telemetry: { metrics: { level: none }, logs: { level: error } }
  pipelines:
    traces/grpc: { receivers: [otlp/grpc], exporters: [otlp] }
    traces/http: { receivers: [otlp/http], exporters: [otlphttp] }
`
}
