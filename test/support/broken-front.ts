/** nginx in the gateway's place, put together as carelessly as people do: a door for each mistake. */
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Target } from '../../docker/validate/target.ts'
import { issueCa, issueServer } from '../../src/tls/issue.ts'
import { Child, runToEnd } from './child.ts'
import { eventually } from './eventually.ts'
import { freePorts } from './otelcol.ts'
import { tool } from './tools.ts'

const TWO_YEARS_MS = 2 * 366 * 86_400_000

/** Targets, each with one kind of mistake; all else is as in the good one. */
export interface BrokenFront {
  /** Forwards whatever comes, speaks TLS 1.1, redirects, tells of the collector, and shows metrics. */
  readonly open: Target
  /** A certificate that nobody has signed. */
  readonly selfSigned: Target
  /** A certificate whose end was last year. */
  readonly expired: Target
}

/** Starts nginx on 127.0.0.2 before the collector of a set-up, and stops it with the test. */
export async function startBrokenFront(t: TestContext, target: Target): Promise<BrokenFront> {
  const collector = target.inside?.collectorGrpc
  assert.ok(collector !== undefined && target.ca !== undefined && target.admin !== undefined)
  // The folder of the set-up, which is removed with it.
  const given = dirname(target.ca)
  const folder = join(given, 'nginx')
  await mkdir(folder)
  const self = join(folder, 'self')
  const { code, stderr } = await runToEnd(tool('openssl'), [
    ...['req', '-x509', '-days', '30', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'],
    ...['-nodes', '-keyout', `${self}.key`, '-out', `${self}.pem`, '-subj', '/CN=localhost'],
    ...['-addext', 'subjectAltName=DNS:localhost'],
  ])
  assert.equal(code, 0, stderr)
  const past = Date.now() - TWO_YEARS_MS
  const ca = await issueCa('A CA of back then', past)
  const old = await issueServer(ca, ['localhost'], past)
  await writeFile(join(folder, 'old-ca.pem'), ca.cert)
  await writeFile(join(folder, 'old.pem'), old.cert)
  await writeFile(join(folder, 'old.key'), old.key)

  const [open = 0, selfPort = 0, oldPort = 0] = await freePorts(3)
  const door = (port: number, pair: string, more = '') =>
    `server { listen 127.0.0.2:${port} ssl http2; ssl_certificate ${pair}.pem; ssl_certificate_key ${pair}.key; ${more} }`
  const config = `daemon off; pid ${folder}/pid; error_log stderr;
events {}
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(' ')}
  ${door(
    open,
    join(given, 'test'),
    `add_header x-upstream ${collector} always; ssl_protocols TLSv1.1 TLSv1.2 TLSv1.3; ssl_ciphers DEFAULT@SECLEVEL=0;
     location / { return 308 https://localhost/elsewhere; }
     location = /metrics { proxy_pass ${target.admin}; }
     location /v1/ { return 200; }
     location /opentelemetry { grpc_pass grpc://${collector}; }`,
  )}
  ${door(selfPort, self)}
  ${door(oldPort, join(folder, 'old'))}
}`
  const file = join(folder, 'nginx.conf')
  await writeFile(file, config)
  const nginx = new Child(tool('nginx'), ['-c', file, '-p', folder, '-e', 'stderr'])
  t.after(async () => {
    nginx.kill('SIGQUIT')
    await nginx.exit
  })
  await eventually(async () => {
    assert.ok(!nginx.hasEnded, nginx.output)
    const args = ['s_client', '-connect', `127.0.0.2:${open}`]
    return (await runToEnd(tool('openssl'), args)).stdout.includes('BEGIN CERTIFICATE')
  }, 'nginx to answer')
  const at = (port: number): Target => ({ ...target, grpcPort: port, httpPort: port })
  return {
    open: at(open),
    selfSigned: at(selfPort),
    expired: { ...at(oldPort), ca: join(folder, 'old-ca.pem') },
  }
}
