/** `tollgate serve-child`: the gateway as its parent starts it. Nobody types this. */
import { parseConfig } from '../config/config.ts'
import { takeGivenSockets } from '../parent/given-sockets.ts'
import { type Channel, ParentTie } from '../parent/tie.ts'
import type { CommandIo } from './io.ts'
import { runGateway } from './run-gateway.ts'

const EXIT_USAGE = 64

/** Runs a gateway on the sockets and at the orders of the parent. Exit codes as `runGateway`. */
export async function runServeChild(argv: readonly string[], io: CommandIo): Promise<number> {
  if (process.send === undefined) {
    io.stderr.write('tollgate: serve-child is started by tollgate serve; use that\n')
    return EXIT_USAGE
  }
  const tie = new ParentTie(process as Channel)
  // The parent could not know this process before it was started: it names itself.
  const { sockets } = takeGivenSockets(process.env, Number(process.env.LISTEN_PID))
  const config = parseConfig(io.env, argv, { cwd: process.cwd() })
  return await runGateway(config, io, { sockets, tie })
}
