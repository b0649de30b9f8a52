/** Makes this process the parent: it holds the sockets, and the gateway runs as its child. */
import { realpathSync } from 'node:fs'
import { extname } from 'node:path'
import { isatty } from 'node:tty'
import { fileURLToPath } from 'node:url'
import type { Config } from '../config/config.ts'
import { startGatewayProcess } from '../parent/gateway-process.ts'
import type { HeldSocket } from '../parent/held-sockets.ts'
import { createSay, type Severity } from '../parent/lines.ts'
import { Parent } from '../parent/parent.ts'
import { TicketKeys } from '../parent/ticket-keys.ts'
import { formatOf } from './log-format.ts'

/** Runs until the gateway has ended for good; resolves with the exit code. */
export async function runParent(
  argv: readonly string[],
  config: Config,
  sockets: readonly HeldSocket[],
  notice: string | undefined,
): Promise<number> {
  const say = createSay({
    least: leastOf(config),
    format: formatOf(config),
    hasColour: isatty(2),
    wallMs: () => Date.now(),
  })
  const program = {
    node: process.execPath,
    args: [...process.execArgv, mainPath(), 'serve-child', ...argv],
    env: process.env,
  }
  const ticketKeys = new TicketKeys()
  const parent = new Parent({
    start({ onReport, onEnd }) {
      const gateway = startGatewayProcess(program, sockets, {
        onReport,
        onEnd(ending) {
          ticketKeys.leave(gateway)
          onEnd(ending)
        },
      })
      ticketKeys.join(gateway)
      return gateway
    },
    say,
    nowMs: () => performance.now(),
    drainMs: config.drainMs,
  })
  process.on('SIGTERM', (signal) => parent.stop(signal))
  process.on('SIGINT', (signal) => parent.stop(signal))
  process.on('SIGHUP', () => parent.reload())
  process.on('SIGUSR2', (signal) => parent.restart(signal))
  if (notice !== undefined) say('warn', 'parent', notice)
  const ports = sockets.map(({ name, address = 'as given' }) => `${name} ${address}`).join(', ')
  say('info', 'parent', `Holding the ports: ${ports}. The gateway runs as a child`, {
    parent: process.pid,
  })
  return await parent.run()
}

/**
 * The main file, and never anything else that this process was started with: that might call us
 * again. By the path it was called with, if that is a link to it: the next gateway is then of the
 * version that the link points to by then.
 */
function mainPath(): string {
  const main = fileURLToPath(new URL(`../main${extname(import.meta.url)}`, import.meta.url))
  const [, called] = process.argv
  try {
    return called !== undefined && realpathSync(called) === main ? called : main
  } catch {
    return main
  }
}

function leastOf({ logLevel }: Config): Severity | undefined {
  if (logLevel === 'silent') return undefined
  if (logLevel === 'warn') return 'warn'
  return logLevel === 'error' || logLevel === 'fatal' ? 'error' : 'info'
}
