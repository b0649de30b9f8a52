/** What a check is, how much it asks of a server, and who may ask for it. */
import type { Program } from './programs.ts'
import type { Row } from './row.ts'
import type { Target } from './target.ts'

/**
 * handful: some requests, as one agent makes. scan: ports, or some hundred handshakes. load: thousands
 * of requests. ban: has the address that it comes from banned.
 */
export type Effort = 'handful' | 'scan' | 'load' | 'ban'

export interface Check {
  /** A heading of docs/validate.md. */
  readonly name: string
  readonly effort: Effort
  readonly programs: readonly Program[]
  /** No run takes longer; it fails beyond. */
  readonly limitSeconds: number
  /** What it is going to do to the server, with its bounds. */
  plan(target: Target): string
  /** Throws where the server could not be looked at; that is a failure, too. */
  run(target: Target): Promise<readonly Row[]>
}

/** What the user has said that he wants and may do. */
export interface Leave {
  readonly ownsServer: boolean
  /** Whether thousands of requests are wanted. */
  readonly mayLoad: boolean
  /** Whether the address of this machine may be banned. */
  readonly mayBan: boolean
}

const REASONS = {
  scan: 'more than a handful of requests',
  load: 'thousands of requests',
  ban: 'gets this address banned',
} as const satisfies Record<Exclude<Effort, 'handful'>, string>

/** Why a check must not be run, and undefined where it may. */
export function refusalOf(effort: Effort, target: Target, leave: Leave): string | undefined {
  if (effort === 'handful') return undefined
  const wanted = [
    ...(effort === 'load' && !leave.mayLoad ? ['--full'] : []),
    ...(effort === 'ban' && !leave.mayBan ? ['--ban-me'] : []),
    ...(target.mode === 'server' && !leave.ownsServer ? ['--i-own-this-server'] : []),
  ]
  return wanted.length > 0 ? `${REASONS[effort]}: say ${wanted.join(' ')}` : undefined
}
