/**
 * A world of one process for rotations: a source of truth, two gateways, places to deliver to, agents
 * and a clock. Everything that happens is written down in order, and it can end at any moment, as
 * a killed process does.
 */

import { advance } from '../../../src/rotation/advance.ts'
import { begin } from '../../../src/rotation/begin.ts'
import type {
  PastRotation,
  Plan,
  Rotation,
  RotationEvent,
  Standing,
} from '../../../src/rotation/rotation.ts'
import type { Entry } from '../../../src/rotation/set-entries.ts'
import type { Refused, ReportedToken } from '../../../src/rotation/token-report.ts'
import type { GatewayAnswer, World } from '../../../src/rotation/world.ts'
import { SourceFault } from '../../../src/secrets/source-fault.ts'
import { digestOf } from '../../../src/stores/token-secret.ts'

export const HOLDER = 'web-shop'
export const OLD = 'an-old-token-of-the-web-shop'
export const START_MS = Date.parse('2026-11-01T00:00:00Z')
export const HOUR_MS = 3_600_000
export const DAY_MS = 24 * HOUR_MS

export const PLAN: Plan = {
  truth: 'memory:set',
  deliver: ['memory:a', 'memory:b'],
  gateways: ['local', 'http://10.0.0.5:9464'],
  quietMs: DAY_MS,
  deadlineMs: 30 * DAY_MS,
  revokeAfterMs: DAY_MS,
  acceptWithinMs: 60_000,
}

/** The process ended here. */
export class Crash extends Error {}

/** What happened to the world, as far as orders matter. */
export type Happening =
  | { readonly kind: 'saved'; readonly rotation: Rotation }
  | { readonly kind: 'ended'; readonly past: PastRotation }
  | { readonly kind: 'written'; readonly entries: readonly Entry[] }
  | {
      readonly kind: 'delivered'
      readonly place: string
      readonly token: string
      readonly wasAccepted: boolean
    }
  | { readonly kind: 'told'; readonly event: RotationEvent }

interface Ledger {
  firstUsedMs: number | undefined
  lastUsedMs: number | undefined
  requests: number
}

export class Scene {
  readonly happened: Happening[] = []
  wallMs = START_MS
  uptimeMs = 1_000_000
  /** How far the gateways' clocks are ahead of ours. */
  gatewaysAheadMs = 0
  entries: readonly Entry[]
  /** The set that each gateway has read. */
  readonly inForce = new Map<string, readonly Entry[]>()
  /** When each token was last accepted. */
  readonly lastUses = new Map<string, number>()
  /** What was known of the old token each time that a write ended it. */
  readonly ends: { readonly quietMs: number; readonly isNewUsed: boolean }[] = []
  readonly refusals = new Map<string, Refused>()
  readonly ledgers = new Map<string, Map<string, Ledger>>()
  /** Gateways that do not answer, or do not read. */
  readonly away = new Set<string>()
  readonly stuck = new Set<string>()
  /** Places that cannot be delivered to. */
  readonly closed = new Set<string>()
  /** What each place holds. */
  readonly places = new Map<string, string>()
  /** Called after a read of the truth, and before a write to it: somebody else may be quicker. */
  afterRead: () => void = () => {}
  beforeWrite: () => void = () => {}
  journal: string | undefined
  history: PastRotation[] = []
  #version = 0
  /** The operation to end at, and whether it has an effect before. */
  #end: { at: number; hasEffect: boolean } | undefined
  #operations = 0

  constructor(entries: readonly Entry[] = [oldEntry()]) {
    this.entries = entries
    for (const gateway of PLAN.gateways) {
      this.inForce.set(gateway, entries)
      this.ledgers.set(gateway, new Map())
    }
  }

  /** Ends the process at its operation number `at`, counted from now. */
  endAt(at: number, hasEffect: boolean): void {
    this.#operations = 0
    this.#end = { at, hasEffect }
  }

  goOn(): void {
    this.#end = undefined
  }

  pass(ms: number): void {
    this.wallMs += ms
    this.uptimeMs += ms
  }

  /** Somebody else writes the set. */
  edit(entries: readonly Entry[]): void {
    this.entries = entries
    this.#version += 1
  }

  /** An agent sends a request with a token; whether the gateway took it. */
  use(token: string, gateway = 'local'): boolean {
    const entry = this.inForce.get(gateway)?.find(({ sha256 }) => sha256 === digestOf(token))
    const nowMs = this.wallMs + this.gatewaysAheadMs
    if (entry === undefined || !isAccepted(entry, nowMs)) return false
    const ledgers = this.ledgers.get(gateway)
    const ledger = ledgers?.get(entry.id) ?? {
      firstUsedMs: undefined,
      lastUsedMs: undefined,
      requests: 0,
    }
    ledger.firstUsedMs ??= nowMs
    ledger.lastUsedMs = nowMs
    ledger.requests += 1
    this.lastUses.set(token, this.wallMs)
    ledgers?.set(entry.id, ledger)
    return true
  }

  /** Gateways read the set by themselves, sooner or later. */
  readEverywhere(): void {
    for (const gateway of PLAN.gateways)
      if (!this.stuck.has(gateway)) this.inForce.set(gateway, this.entries)
  }

  get rotation(): Rotation | undefined {
    return this.journal === undefined ? undefined : (JSON.parse(this.journal) as Rotation)
  }

  /** One run of the command: begins a rotation where there is none, and goes on with it. */
  async run(plan: Plan = PLAN): Promise<Standing> {
    const rotation = this.rotation ?? (await begin(HOLDER, plan, this.world))
    return await advance(rotation, this.world)
  }

  get told(): readonly string[] {
    return this.happened.flatMap((each) => (each.kind === 'told' ? each.event.name : []))
  }

  readonly world: World = {
    truth: {
      place: PLAN.truth,
      readCurrent: async () => {
        const version = await this.#step(() => ({
          text: JSON.stringify({ tokens: this.entries }),
          version: String(this.#version),
        }))
        this.afterRead()
        return version
      },
      write: async (text, version) => {
        this.beforeWrite()
        return await this.#step(() => {
          if (version !== String(this.#version)) return false
          const wasOpen = this.#isOpen()
          this.edit(JSON.parse(text).tokens)
          if (wasOpen && !this.#isOpen())
            this.ends.push({
              quietMs: this.wallMs - (this.lastUses.get(OLD) ?? 0),
              isNewUsed: this.lastUses.has(this.places.get('memory:a') ?? ''),
            })
          this.happened.push({ kind: 'written', entries: this.entries })
          return true
        })
      },
      close: async () => {},
    },
    gateways: {
      ask: (gateways) => this.#step(() => gateways.map((gateway) => this.#answer(gateway))),
      reload: (gateways) =>
        this.#step(() => {
          for (const gateway of gateways)
            if (!this.away.has(gateway) && !this.stuck.has(gateway))
              this.inForce.set(gateway, this.entries)
        }),
    },
    journal: {
      load: () => this.#step(() => this.rotation),
      save: (rotation) =>
        this.#step(() => {
          this.journal = JSON.stringify(rotation)
          this.happened.push({ kind: 'saved', rotation })
        }),
      end: (past) =>
        this.#step(() => {
          this.journal = undefined
          if (!this.history.some(({ id }) => id === past.id)) this.history.push(past)
          this.happened.push({ kind: 'ended', past })
        }),
    },
    clock: {
      now: () => ({ wallMs: this.wallMs, uptimeMs: this.uptimeMs, boot: 'boot' }),
      sleep: async (ms) => this.pass(ms),
    },
    openDelivery: async (place) => ({
      place,
      check: async () => 'would keep it',
      deliver: (token) =>
        this.#step(() => {
          if (this.closed.has(place))
            throw new SourceFault(place, 'is closed', 'open it', { isTemporary: true })
          const wasAccepted = PLAN.gateways.every((gateway) =>
            this.inForce.get(gateway)?.some(({ sha256 }) => sha256 === digestOf(token.token)),
          )
          this.places.set(place, token.token)
          this.happened.push({ kind: 'delivered', place, token: token.token, wasAccepted })
          return 'kept it'
        }),
      close: async () => {},
    }),
    tell: (event) => this.#step(() => void this.happened.push({ kind: 'told', event })),
  }

  #isOpen(): boolean {
    return this.entries.some((entry) => entry.id === 'old' && isAccepted(entry, this.wallMs))
  }

  async #step<T>(act: () => T): Promise<T> {
    this.#operations += 1
    const isEnd = this.#end !== undefined && this.#operations >= this.#end.at
    if (isEnd && this.#end?.hasEffect) act()
    if (isEnd) throw new Crash()
    return act()
  }

  #answer(gateway: string): GatewayAnswer {
    if (this.away.has(gateway)) return { gateway, report: undefined, problem: 'nobody listens' }
    const nowMs = this.wallMs + this.gatewaysAheadMs
    const tokens = (this.inForce.get(gateway) ?? []).map((entry): [string, ReportedToken] => {
      const ledger = this.ledgers.get(gateway)?.get(entry.id)
      return [
        entry.id,
        {
          id: entry.id,
          holder: entry.holder,
          fingerprint: entry.sha256.slice(0, 8),
          isAccepted: isAccepted(entry, nowMs),
          firstUsedMs: ledger?.firstUsedMs,
          lastUsedMs: ledger?.lastUsedMs,
          requests: ledger?.requests ?? 0,
          refused: this.refusals.get(entry.id),
          lastUse: {
            address: '203.0.113.7',
            signal: 'traces',
            protocol: 'http',
            program: 'an-sdk 1.2.3',
          },
        },
      ]
    })
    return { gateway, report: { sources: [], tokens: new Map(tokens), clockMs: nowMs } }
  }
}

/** Whether a gateway would take it. */
export function isAccepted({ revokedAt, expiresAt, notBefore }: Entry, nowMs: number): boolean {
  const isPast = (date: string | undefined) => date !== undefined && Date.parse(date) <= nowMs
  return !isPast(revokedAt) && !isPast(expiresAt) && (notBefore === undefined || isPast(notBefore))
}

/** The token that a rotation begins from. */
export function oldEntry(fields: Partial<Entry> = {}): Entry {
  return {
    id: 'old',
    holder: HOLDER,
    sha256: digestOf(OLD),
    createdAt: '2026-10-01T00:00:00.000Z',
    scopes: ['traces', 'metrics'],
    allowFrom: ['203.0.113.0/24'],
    limits: { rate: '50/s', burst: 100 },
    labels: { team: 'web' },
    ...fields,
  }
}
