/** `tollgate cert renew`: has the running gateway get a new certificate by ACME. */
import { askGateway } from './ask-gateway.ts'
import { askAndWrite, type Status, statusText } from './cert-status.ts'
import type { CommandIo } from './io.ts'

/** Longer than an authority is given to decide, and another attempt that is under way. */
const PATIENCE_MS = 700_000

const USAGE = `tollgate cert renew: get a new certificate by ACME now

  tollgate cert renew [--force] [--json]

  --force              renew though it is not due, or after failures before their wait is over
  --json               JSON instead of text
  --state-dir DIR      the gateway's state directory (default: TOLLGATE_STATE_DIR, or .tollgate)
`

/** `argv` is what follows `cert renew`. Resolves when there is a new certificate or none. */
export function runCertRenew(argv: readonly string[], io: CommandIo): Promise<number> {
  const ask = (stateDir: string, isForced: boolean) =>
    askGateway(stateDir, 'POST', '/certificates/renew', {
      body: { isForced },
      patienceMs: PATIENCE_MS,
    })
  return askAndWrite({ name: 'renew', usage: USAGE, takesForce: true, ask, text }, argv, io)
}

function text(answer: Readonly<Record<string, unknown>>): string {
  const words =
    answer.isRenewed === true
      ? 'There is a new certificate, and new connections get it.'
      : 'The certificate is not due yet; --force renews it all the same.'
  return `${words}\n\n${statusText(answer as unknown as Status, Date.now())}`
}
