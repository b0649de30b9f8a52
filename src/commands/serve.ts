/** `tollgate serve`: runs the gateway until it is told to stop. */
import { isatty } from 'node:tty'
import { type Config, parseConfig } from '../config/config.ts'
import { type Gateway, openGateway } from '../gateway.ts'
import { createLog, type Log } from '../observe/log.ts'
import { tuneGarbageCollection } from './garbage.ts'
import type { CommandIo } from './io.ts'
import { provideStandIns } from './stand-ins.ts'
import { ensureStateDirectory } from './state-directory.ts'
import { ownVersion } from './version.ts'
import { welcome } from './welcome.ts'

/**
 * Runs the gateway. Resolves with 0 when it has stopped cleanly, and with 1 when requests were cut
 * off. Rejects where it cannot start.
 */
export async function runServe(
  argv: readonly string[],
  { stdout, env }: CommandIo,
): Promise<number> {
  tuneGarbageCollection()
  const parsed = parseConfig(env, argv, { cwd: process.cwd() })
  const log = createLog({ level: levelOf(parsed), format: formatOf(parsed) })
  for (const warning of parsed.warnings) log.warn('notice', warning)
  await ensureStateDirectory(parsed.stateDir)
  const standIns = await provideStandIns(parsed)
  const { config, sandbox } = standIns
  try {
    // A signal that comes while the gateway opens is not lost: it stops right after.
    const stop = stopSignal()
    const gateway = await openGateway(config, { version: ownVersion(), log })
    const onReload = () =>
      void gateway.reload().catch((err) => log.error('internal', 'The reload failed', { err }))
    process.on('SIGHUP', onReload)
    if (standIns.token !== undefined) stdout.write(await welcome(standIns, gateway.addresses))
    const signal = await stop
    process.off('SIGHUP', onReload)
    return await drain(gateway, signal, log)
  } finally {
    await sandbox?.close()
  }
}

/** Resolves with the first signal that asks the process to stop. */
function stopSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  process.once('SIGTERM', resolve)
  process.once('SIGINT', resolve)
  return promise
}

async function drain(gateway: Gateway, signal: NodeJS.Signals, log: Log): Promise<number> {
  const atOnce = (again: NodeJS.Signals) => {
    log.warn('stop', `${again} again: stopped at once; what was in flight is cut off`)
    process.exit(1)
  }
  process.once('SIGTERM', atOnce)
  process.once('SIGINT', atOnce)
  const abandoned = await gateway.drain(signal)
  return abandoned === 0 ? 0 : 1
}

function formatOf({ logFormat }: Config): 'json' | 'text' {
  if (logFormat === 'auto') return isatty(2) ? 'text' : 'json'
  return logFormat
}

/** The log knows fewer levels than its option takes. */
function levelOf({ logLevel }: Config): Parameters<typeof createLog>[0]['level'] {
  if (logLevel === 'trace') return 'debug'
  return logLevel === 'fatal' ? 'error' : logLevel
}
