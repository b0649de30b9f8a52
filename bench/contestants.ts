/** The proxies by the names that `--peers` takes. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import type { Contestant } from './peers/contestant.ts'
import { haproxy } from './peers/haproxy.ts'
import { nginx } from './peers/nginx.ts'
import { otelcol } from './peers/otelcol.ts'
import { fastify, grpcJs, nodeHttp2 } from './peers/small-proxy.ts'
import { LIMITS_OFF, LIMITS_ON, tollgate } from './peers/tollgate.ts'

/** What users run. Built anew before each run. */
const BUILT = 'dist/main.js'

/** What runs where nothing else is said. */
export const DEFAULT_PEERS = 'nginx,haproxy,tollgate'

/**
 * Reads a list of names, `all` among them. `entry` is the file of the gateway to run; undefined
 * builds it first. Throws for a name that is none, and where the gateway does not build.
 */
export function chooseContestants(list: string, entry: string | undefined): Contestant[] {
  const run = entry ?? BUILT
  const known: Record<string, Contestant> = {
    nginx,
    haproxy,
    tollgate: tollgate({ name: 'Tollgate', entry: run, env: LIMITS_ON }),
    'tollgate-off': tollgate({ name: 'Tollgate, no limits', entry: run, env: LIMITS_OFF }),
    'node-http2': nodeHttp2,
    'grpc-js': grpcJs,
    fastify,
    otelcol,
  }
  const names = list.split(',').flatMap((name) => (name === 'all' ? Object.keys(known) : [name]))
  const chosen = [...new Set(names)].map((name) => {
    const contestant = known[name]
    if (contestant === undefined) {
      throw new Error(`--peers ${name}: expected some of all, ${Object.keys(known).join(', ')}`)
    }
    return contestant
  })
  if (entry === undefined && names.some((name) => name.startsWith('tollgate'))) build()
  return chosen
}

function build(): void {
  const { status } = spawnSync('npm', ['run', '--silent', 'build'], {
    cwd: join(import.meta.dirname, '..'),
    stdio: 'inherit',
  })
  if (status !== 0) {
    throw new Error('The gateway does not build; --entry src/main.ts runs the sources as they are')
  }
}
