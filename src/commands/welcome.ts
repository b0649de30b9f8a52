/** What a person needs to know after a first start: what works, and what to type next. */
import { readFile } from 'node:fs/promises'
import { relative, resolve } from 'node:path'
import type { Gateway } from '../gateway.ts'
import type { Result } from '../upstream/self-check.ts'
import type { StandIns } from './stand-ins.ts'

const SELF_CHECK_TIMEOUT_MS = 5000
/** How this program is called where it was started. */
const OWN_COMMAND = process.env.npm_lifecycle_event === 'start' ? 'npm start --' : 'tollgate'

/** The text that is shown. In a sandbox, one of each signal goes through the front door first. */
export async function welcome(
  standIns: StandIns,
  addresses: Gateway['addresses'],
): Promise<string> {
  const { config, caPath, token = '', sandbox } = standIns
  const scheme = config.tls === 'on' ? 'https' : 'http'
  const grpc = addresses.grpc ?? addresses.http ?? ''
  const http = addresses.http ?? addresses.grpc ?? ''
  const grpcUrl = `${scheme}://localhost:${portOf(grpc)}`
  const httpUrl = `${scheme}://localhost:${portOf(http)}`
  const ca = caPath === undefined ? undefined : resolve(caPath)
  const lines = ['', 'Tollgate is up.', '']
  if (sandbox !== undefined) {
    const { sendOneOfEach } = await import('../upstream/self-check.ts')
    const caPem = caPath === undefined ? undefined : await readFile(caPath, 'utf8')
    const results = await sendOneOfEach({
      grpcTarget: `localhost:${portOf(grpc)}`,
      httpOrigin: httpUrl,
      token,
      caPem,
      timeoutMs: SELF_CHECK_TIMEOUT_MS,
    })
    const { traces, metrics, logs } = sandbox.counts()
    lines.push(
      'No collector is configured, so a sandbox counts what arrives. Sent through the front door:',
      ...results.map(resultLine),
      `  The sandbox received ${traces} spans, ${metrics} data points, ${logs} log records.`,
      '  Set TOLLGATE_COLLECTOR_GRPC=http://host:4317 to forward to your collector instead.',
      '',
    )
  }
  lines.push(
    'Point an agent on this machine here (Python, JavaScript, Go, Java, …):',
    `  export OTEL_EXPORTER_OTLP_ENDPOINT=${httpUrl}`,
    '  export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf',
    `  export OTEL_EXPORTER_OTLP_HEADERS=Authorization=Bearer%20${token}`,
    ...(ca === undefined ? [] : [`  export OTEL_EXPORTER_OTLP_CERTIFICATE=${ca}`]),
    `Or over gRPC: OTEL_EXPORTER_OTLP_ENDPOINT=${grpcUrl} and OTEL_EXPORTER_OTLP_PROTOCOL=grpc`,
    '',
    'Try it with curl (an empty export; the answer is empty, with status 200):',
    `  curl -i ${ca === undefined ? '' : `--cacert ${ca} `}-H 'Authorization: Bearer ${token}' -H 'Content-Type: application/x-protobuf' --data-binary '' ${httpUrl}/v1/traces`,
    '',
    ...(addresses.admin === undefined
      ? []
      : [`Metrics: http://${addresses.admin}/metrics   Ready? http://${addresses.admin}/readyz`]),
    `The token and the development certificates are kept in ${relative(process.cwd(), config.stateDir) || '.'}; more tokens: ${OWN_COMMAND} token create --holder NAME`,
    'Stop with Ctrl-C.',
    '',
    '',
  )
  return lines.join('\n')
}

function resultLine({ protocol, signal, ok, words }: Result): string {
  return `  ${ok ? 'ok    ' : 'FAILED'} ${signal} over ${protocol}${ok ? '' : `: ${words}`}`
}

function portOf(address: string): string {
  return address.slice(address.lastIndexOf(':') + 1)
}
