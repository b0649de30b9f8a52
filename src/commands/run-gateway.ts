/** Runs a gateway in this process until it is told to stop, by signals or by its parent. */
import type { Config } from '../config/config.ts'
import { type Gateway, openGateway } from '../gateway.ts'
import { createLog, type Log } from '../observe/log.ts'
import type { GivenSockets } from '../parent/given-sockets.ts'
import type { ParentTie, StopOrder } from '../parent/tie.ts'
import { DevelopmentRenewal } from '../tls/development-renewal.ts'
import { tuneGarbageCollection } from './garbage.ts'
import type { CommandIo } from './io.ts'
import { formatOf } from './log-format.ts'
import { provideStandIns } from './stand-ins.ts'
import { ensureStateDirectory } from './state-directory.ts'
import { ownVersion } from './version.ts'
import { welcome } from './welcome.ts'

const NO_RESTART =
  'SIGUSR2: this gateway has no parent that could replace it (TOLLGATE_PARENT=off); it goes on as it is'

export interface RunOptions {
  /** Sockets that are open already. */
  readonly sockets?: GivenSockets | undefined
  /** Words for the log, besides those of the configuration. */
  readonly notice?: string | undefined
  /** The parent that this gateway obeys; undefined for none. */
  readonly tie?: ParentTie
}

/**
 * Runs the gateway. Resolves with 0 when it has stopped cleanly, and with 1 when requests were cut
 * off. Rejects where it cannot start.
 */
export async function runGateway(
  config: Config,
  { stdout }: Pick<CommandIo, 'stdout'>,
  { sockets = {}, notice, tie }: RunOptions = {},
): Promise<number> {
  tuneGarbageCollection()
  const log = createLog({ level: levelOf(config), format: formatOf(config) })
  if (tie !== undefined) tie.onOrphaned = () => process.exit(1)
  for (const warning of config.warnings) log.warn('notice', warning)
  if (notice !== undefined) log.warn('notice', notice)
  await ensureStateDirectory(config.stateDir)
  const standIns = await provideStandIns(config)
  const renewal = standIns.caPath === undefined ? undefined : renewalIn(config, log)
  try {
    // A signal that comes while the gateway opens is not lost: it stops right after.
    const stop = tie === undefined ? stopSignal() : stopOrder(tie)
    let isFirst = true
    const gateway = await openGateway(standIns.config, {
      version: ownVersion(),
      log,
      sockets,
      restart: tie && (() => tie.restart()),
      ticketKeys: tie && ((use) => tie.onTicketKey(use)),
      onServing: () => tie?.report({ kind: 'serving' }),
      mayOpen: async () => {
        if (tie !== undefined) ({ isFirst } = await tie.mayOpen())
      },
    })
    const onReload = () => {
      void renewal?.look()
      void gateway.reload().catch((err) => log.error('internal', 'The reload failed', { err }))
    }
    process.on('SIGHUP', onReload)
    // It renews files that the gateway watches: nobody has to tell it.
    renewal?.start()
    if (tie !== undefined) tie.onReload = onReload
    else process.on('SIGUSR2', () => log.warn('notice', NO_RESTART))
    if (standIns.token !== undefined && isFirst) {
      stdout.write(await welcome(standIns, gateway.addresses))
    }
    const order = await stop
    process.off('SIGHUP', onReload)
    return await end(gateway, order, log, tie)
  } finally {
    await renewal?.close()
    await standIns.sandbox?.close()
  }
}

/** Keeps the development certificate from ending while the gateway runs. */
function renewalIn({ stateDir }: Config, log: Log): DevelopmentRenewal {
  return new DevelopmentRenewal({
    stateDir,
    onRenewed: () => log.info('notice', 'The development certificate was renewed'),
    onTrouble: ({ message }) => log.warn('certificate_warning', message),
  })
}

/** Resolves with the first signal that asks the process to stop. */
function stopSignal(): Promise<StopOrder> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  process.once('SIGTERM', resolve)
  process.once('SIGINT', resolve)
  return promise.then((why) => ({ kind: 'stop', why }))
}

/**
 * Resolves with the parent's order. Signals that reach both (Ctrl-C, a stopped systemd unit) are one
 * stop and not two: what they ask for is the parent's to say, and a second one never cuts off here.
 */
function stopOrder(tie: ParentTie): Promise<StopOrder> {
  const { promise, resolve } = Promise.withResolvers<StopOrder>()
  process.on('SIGTERM', (why) => resolve({ kind: 'stop', why }))
  process.on('SIGINT', () => {})
  process.on('SIGUSR2', () => {})
  return Promise.race([promise, tie.ending])
}

async function end(
  gateway: Gateway,
  order: StopOrder,
  log: Log,
  tie: ParentTie | undefined,
): Promise<number> {
  const atOnce = (again: string) => {
    log.warn('stop', `${again} again: stopped at once; what was in flight is cut off`)
    process.exit(1)
  }
  if (tie === undefined) {
    process.once('SIGTERM', atOnce)
    process.once('SIGINT', atOnce)
  } else tie.onStopAtOnce = atOnce
  const abandoned =
    order.kind === 'hand-over'
      ? await gateway.handOver(() => tie?.report({ kind: 'released' }))
      : await gateway.drain(order.why)
  return abandoned === 0 ? 0 : 1
}

/** The log knows fewer levels than its option takes. */
function levelOf({ logLevel }: Config): Parameters<typeof createLog>[0]['level'] {
  if (logLevel === 'trace') return 'debug'
  return logLevel === 'fatal' ? 'error' : logLevel
}
