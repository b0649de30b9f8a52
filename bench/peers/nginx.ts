import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { start } from '../processes.ts'
import type { Contestant, Setting } from './contestant.ts'

/** nginx with one worker: the token by `map`, the address by `limit_req`. */
export const nginx: Contestant = {
  name: 'nginx',
  isPassThrough: true,
  version() {
    const { stderr, error } = spawnSync('nginx', ['-v'], { encoding: 'utf8' })
    if (error !== undefined) throw new Error('nginx is not installed (apt install nginx)')
    return stderr.trim().replace(/^.*nginx\//, '')
  },
  start(setting) {
    const configPath = join(setting.directory, 'nginx.conf')
    writeFileSync(configPath, config(setting))
    return start(['nginx', '-e', 'stderr', '-p', setting.directory, '-c', configPath], {
      directory: setting.directory,
      ports: [setting.grpcPort, setting.httpPort],
    })
  },
}

const TEMPORARY = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']

function config(setting: Setting): string {
  const { directory, certificate, tokens } = setting
  const known = tokens.map((token) => `"Bearer ${token}" 1;`).join(' ')
  return `
daemon off;
worker_processes 1;
pid ${directory}/pid;
${process.getuid?.() === 0 ? 'user root;' : ''}
error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off;
  server_tokens off;
  ${TEMPORARY.map((name) => `${name}_temp_path ${directory}/${name};`).join('\n  ')}
  map_hash_bucket_size 128;
  map $http_authorization $is_admitted { default 0; ${known} }
  limit_req_zone $binary_remote_addr zone=peers:10m rate=1000000r/s;
  ssl_certificate ${certificate.certPath};
  ssl_certificate_key ${certificate.keyPath};
  ssl_protocols TLSv1.3;
  keepalive_requests 1000000000;
  client_max_body_size 64m;
  upstream collector_grpc {
    server 127.0.0.1:${setting.collectorGrpcPort};
    keepalive 256; keepalive_requests 1000000000;
  }
  upstream collector_http {
    server 127.0.0.1:${setting.collectorHttpPort};
    keepalive 256; keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${setting.grpcPort} ssl http2;
    default_type application/grpc;
    location / {
      if ($is_admitted = 0) {
        add_header grpc-status 16;
        add_header grpc-message unauthenticated;
        return 200;
      }
      limit_req zone=peers burst=1000000 nodelay;
      grpc_pass grpc://collector_grpc;
      grpc_set_header authorization "";
    }
  }
  server {
    listen 127.0.0.1:${setting.httpPort} ssl;
    default_type application/x-protobuf;
    location / {
      if ($is_admitted = 0) {
        add_header www-authenticate Bearer;
        return 401;
      }
      limit_req zone=peers burst=1000000 nodelay;
      client_body_buffer_size 1m;
      proxy_pass http://collector_http;
      proxy_http_version 1.1;
      proxy_set_header connection "";
      proxy_set_header authorization "";
    }
  }
}
`
}
