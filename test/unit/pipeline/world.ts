/** The pipeline's surroundings for its tests: real stores, clocks that are set by hand, a journal that keeps all. */
import { mock } from 'node:test'
import type { Admission } from '../../../src/pipeline/admit.ts'
import type { Arrival, Peer } from '../../../src/pipeline/arrival.ts'
import { Hold, type HoldOptions } from '../../../src/pipeline/hold.ts'
import type {
  Clock,
  Ending,
  HoldReason,
  Journal,
  Token,
  TokenLimits,
  TokenProblem,
  Tokens,
} from '../../../src/pipeline/ports.ts'
import type { Unverified } from '../../../src/pipeline/unverified.ts'
import { Bans } from '../../../src/stores/bans.ts'
import { Budgets, type PeerLimits } from '../../../src/stores/budgets.ts'

/** A token as the stores know it, without limits of its own unless given. */
export function tokenOf(
  id: string,
  { scopes, ...limits }: Partial<TokenLimits> & Partial<Pick<Token, 'scopes'>> = {},
): Token {
  const none = { requests: undefined, bytes: undefined, inFlight: undefined }
  return { id, holder: id, scopes, limits: { ...none, ...limits } }
}

export function peerOf(address: string): Peer {
  return { key: address, address }
}

/** A request that nothing is wrong with, from one address with the credential `agent`. */
export function arrivalOf(differences: Partial<Arrival> = {}): Arrival {
  return {
    protocol: 'grpc',
    signal: 'traces',
    peer: peerOf('203.0.113.7'),
    authorization: 'agent',
    userAgent: undefined,
    deadlineMs: Number.POSITIVE_INFINITY,
    flaw: undefined,
    ...differences,
  }
}

export interface Wait {
  readonly why: HoldReason
  readonly how: string
  readonly waitedMs: number
}

export class World {
  now = 1_000_000
  isCollectorThere = true
  /** What each Authorization header stands for; others are unknown. */
  readonly credentials = new Map<string, Token | TokenProblem | Unverified>([
    ['agent', tokenOf('agent')],
  ])
  readonly arrived: Arrival[] = []
  readonly ended: { readonly arrival: Arrival; readonly ending: Ending }[] = []
  readonly held: HoldReason[] = []
  readonly waits: Wait[] = []
  readonly used: string[] = []
  readonly bans: Bans
  readonly budgets: Budgets
  readonly admission: Admission
  readonly hold: Hold
  readonly clock: Clock = { nowMs: () => this.now, wallMs: () => this.now + 1e12 }
  readonly journal: Journal = {
    arrived: (arrival) => this.arrived.push(arrival),
    ended: (arrival, ending) => this.ended.push({ arrival, ending }),
    held: (_arrival, why) => this.held.push(why),
    unheld: (_arrival, why, how, waitedMs) => this.waits.push({ why, how, waitedMs }),
  }

  constructor(limits: PeerLimits = {}, options: Partial<HoldOptions> = {}) {
    this.bans = new Bans({
      strikes: 5,
      windowMs: 60_000,
      banMs: 3_600_000,
      exempt: () => false,
      peerOf,
    })
    this.budgets = new Budgets({ peer: limits })
    const tokens: Tokens = {
      verify: (authorization) => {
        if (authorization === undefined) return 'token_missing'
        return this.credentials.get(authorization) ?? 'token_unknown'
      },
      detailOf: () => undefined,
      used: ({ id }) => this.used.push(id),
    }
    const destination = { isAvailable: () => this.isCollectorThere }
    this.admission = { bans: this.bans, budgets: this.budgets, tokens, destination }
    this.hold = new Hold(
      { holdMs: 8000, maxHeld: 1000, ...options },
      this.admission,
      this.clock,
      this.journal,
    )
  }

  /** Lets milliseconds pass, one by one, for the clocks and for timers (`mock.timers` must be on). */
  async pass(ms: number): Promise<void> {
    for (let at = 0; at < ms; at += 1) {
      this.now += 1
      mock.timers.tick(1)
      await settle()
    }
  }
}

/** Lets everything run that waits for nothing but its turn. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve()
}
