import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { start } from '../processes.ts'
import type { Contestant, Setting } from './contestant.ts'

const ROOT = join(import.meta.dirname, '../..')

/** Limits as high as they go: every request is counted and none is refused. */
export const LIMITS_ON = { TOLLGATE_RATE: '1000000/s', TOLLGATE_BURST: '1000000' }
/** No limits at all. */
export const LIMITS_OFF = { TOLLGATE_RATE: 'off' }

/** What a gateway is started with. */
export interface TollgateOptions {
  readonly name: string
  /** The file node runs, from the root of the project: `dist/main.js` or `src/main.ts`. */
  readonly entry: string
  readonly env: Readonly<Record<string, string>>
  /** Flags for node itself. */
  readonly nodeArgs?: readonly string[]
}

/** The gateway, as one process. */
export function tollgate({ name, entry, env, nodeArgs = [] }: TollgateOptions): Contestant {
  return {
    name,
    isPassThrough: true,
    version() {
      const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
      return String(version)
    },
    start(setting) {
      return start(
        [
          process.execPath,
          '--disable-warning=ExperimentalWarning',
          ...nodeArgs,
          join(ROOT, entry),
          'serve',
        ],
        {
          directory: setting.directory,
          ports: [setting.grpcPort, setting.httpPort],
          env: { ...environment(setting), ...env },
        },
      )
    },
  }
}

function environment(setting: Setting): Record<string, string> {
  return {
    TOLLGATE_GRPC_LISTEN: `127.0.0.1:${setting.grpcPort}`,
    TOLLGATE_HTTP_LISTEN: `127.0.0.1:${setting.httpPort}`,
    TOLLGATE_ADMIN_LISTEN: `127.0.0.1:${setting.sparePort}`,
    TOLLGATE_COLLECTOR_GRPC: `http://127.0.0.1:${setting.collectorGrpcPort}`,
    TOLLGATE_COLLECTOR_HTTP: `http://127.0.0.1:${setting.collectorHttpPort}`,
    TOLLGATE_TLS_CERT: setting.certificate.certPath,
    TOLLGATE_TLS_KEY: setting.certificate.keyPath,
    TOLLGATE_TOKENS: setting.tokens.map((token, index) => `bench${index}=${token}`).join(','),
    TOLLGATE_MAX_CONNECTIONS_PER_PEER: '10000',
    TOLLGATE_BAN_STRIKES: 'off',
    // What is measured is the process that serves.
    TOLLGATE_PARENT: 'off',
  }
}
