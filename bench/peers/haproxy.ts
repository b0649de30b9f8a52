import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { start } from '../processes.ts'
import type { Contestant, Setting } from './contestant.ts'

/** HAProxy with one thread: the token by a rule, the address by a stick table. */
export const haproxy: Contestant = {
  name: 'HAProxy',
  isPassThrough: true,
  version() {
    const { stdout, error } = spawnSync('haproxy', ['-v'], { encoding: 'utf8' })
    if (error !== undefined) throw new Error('haproxy is not installed (apt install haproxy)')
    return /version ([\d.]+)/.exec(stdout)?.[1] ?? 'unknown'
  },
  start(setting) {
    const configPath = join(setting.directory, 'haproxy.cfg')
    writeFileSync(configPath, config(setting))
    return start(['haproxy', '-db', '-f', configPath], {
      directory: setting.directory,
      ports: [setting.grpcPort, setting.httpPort],
    })
  },
}

function config(setting: Setting): string {
  const { certificate, tokens } = setting
  const tls = `ssl crt ${certificate.bundlePath} ssl-min-ver TLSv1.3`
  const isKnown = `{ req.hdr(authorization) -m str ${tokens.map((token) => `"Bearer ${token}"`).join(' ')} }`
  const count = `http-request track-sc0 src table peers
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 100000000 }`
  return `
global
  nbthread 1
  maxconn 4000

defaults
  mode http
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s

backend peers
  stick-table type ipv6 size 100k expire 60s store http_req_rate(10s)

frontend grpc
  bind 127.0.0.1:${setting.grpcPort} ${tls} alpn h2
  ${count}
  http-request return status 200 content-type application/grpc hdr grpc-status 16 hdr grpc-message unauthenticated unless ${isKnown}
  http-request del-header authorization
  default_backend collector_grpc

backend collector_grpc
  server collector 127.0.0.1:${setting.collectorGrpcPort} proto h2

frontend http
  bind 127.0.0.1:${setting.httpPort} ${tls} alpn http/1.1
  ${count}
  http-request return status 401 hdr www-authenticate Bearer unless ${isKnown}
  http-request del-header authorization
  default_backend collector_http

backend collector_http
  server collector 127.0.0.1:${setting.collectorHttpPort}
`
}
