/**
 * `tollgate serve`: runs the gateway until it is told to stop. As shipped this process becomes the
 * parent, which holds the ports and runs the gateway as its child; so nothing large is imported here.
 */

import { type Config, parseConfig } from '../config/config.ts'
import { ConfigError } from '../config/config-error.ts'
import { OPTIONS } from '../config/options.ts'
import { type GivenSockets, SOCKET_NAMES, takeGivenSockets } from '../parent/given-sockets.ts'
import type { CommandIo } from './io.ts'

/**
 * Resolves with 0 when the gateway has stopped cleanly, and with 1 when requests were cut off.
 * Rejects, or resolves with the child's code, where it cannot start.
 */
export async function runServe(argv: readonly string[], io: CommandIo): Promise<number> {
  const config = parseConfig(io.env, argv, { cwd: process.cwd() })
  const { sockets, notice } = takeGivenSockets(process.env, process.pid)
  assertWanted(config, sockets ?? {})
  const { canHoldSockets, holdSockets } = await import('../parent/held-sockets.ts')
  if (config.parent === 'on' && canHoldSockets()) {
    const { grpcListen: grpc, httpListen: http, adminListen: admin } = config
    const held = await holdSockets({ grpc, http, admin }, sockets ?? {})
    const { runParent } = await import('./run-parent.ts')
    return await runParent(argv, config, held, notice)
  }
  const words =
    config.parent === 'on'
      ? `TOLLGATE_PARENT is on, but Node.js ${process.versions.node} cannot hold a port without using it; 24.19 and newer can. The ports close while the gateway restarts`
      : undefined
  const { runGateway } = await import('./run-gateway.ts')
  return await runGateway(config, io, { sockets, notice: notice ?? words })
}

/** A socket for a port that is off is a contradiction, and nobody knows which half is meant. */
function assertWanted(config: Config, sockets: GivenSockets): void {
  const mistakes = SOCKET_NAMES.filter(
    (name) => sockets[name] !== undefined && config[`${name}Listen`] === undefined,
  ).map((name) => {
    const option = OPTIONS[`${name}Listen`].env
    const message = `${option} is off, but a socket called ${name} was given (LISTEN_FDNAMES); expected one or the other`
    return { option, message }
  })
  if (mistakes.length > 0) throw new ConfigError(mistakes)
}
