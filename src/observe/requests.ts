/** The numbers of requests: what arrived, how it ended, what waited. */
import type { Registry } from 'prom-client'
import { SIGNALS } from '../otlp/signal.ts'
import type { Arrival, Protocol } from '../pipeline/arrival.ts'
import {
  ANSWERED,
  FAULT_REASONS,
  OUTCOMES,
  type Outcome,
  type Reason,
  STRIKES,
} from '../pipeline/outcome.ts'
import type { Ending, HoldReason } from '../pipeline/ports.ts'
import { counter, Distribution, gauge, histogram, type Row, single } from './families.ts'

const PROTOCOLS = ['grpc', 'http'] as const satisfies readonly Protocol[]
const SIGNAL_LABELS = [...SIGNALS, 'none'] as const satisfies readonly Arrival['signal'][]
const HOLD_REASONS = [
  'rate_limited',
  'collector_unavailable',
] as const satisfies readonly HoldReason[]
const HOW = ['saved', 'refused', 'gone'] as const

/** Outcomes in three groups, so that a histogram does not have a part for each outcome. */
const GROUPS = ['answered', 'refused', 'failed'] as const
type Group = (typeof GROUPS)[number]

const DURATION_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
]
const SIZE_BYTES = [
  256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864,
]
const HOLD_SECONDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 30]

/**
 * Counts requests. What is in flight is derived from what arrived and what ended, so
 * `arrivals = Σ outcomes + in flight` holds at every scrape.
 */
export class RequestNumbers {
  readonly #arrivals = perProtocol(() => perSignal(() => 0))
  readonly #outcomes = perProtocol(() => perSignal(() => record(OUTCOMES, () => 0)))
  readonly #durations = perProtocol(() => record(GROUPS, () => new Distribution(DURATION_SECONDS)))
  readonly #sizes = perProtocol(() => new Distribution(SIZE_BYTES))
  readonly #received = perProtocol(() => 0)
  readonly #sent = perProtocol(() => 0)
  readonly #held = record(HOLD_REASONS, () => 0)
  readonly #heldEnded = record(HOLD_REASONS, () => record(HOW, () => 0))
  readonly #holds = new Distribution(HOLD_SECONDS)

  constructor(registry: Registry) {
    const { arrivals, outcomes, inFlight, duration, size, received, sent, strikes } = FAMILIES
    counter(registry, arrivals, () => this.#arrivalRows())
    counter(registry, outcomes, () => this.#outcomeRows())
    gauge(registry, inFlight, () => PROTOCOLS.map((protocol) => this.#inFlightRow(protocol)))
    histogram(
      registry,
      duration,
      PROTOCOLS.flatMap((protocol) =>
        GROUPS.map((group) => [{ protocol, group }, this.#durations[protocol][group]] as const),
      ),
    )
    histogram(
      registry,
      size,
      PROTOCOLS.map((protocol) => [{ protocol }, this.#sizes[protocol]] as const),
    )
    counter(registry, received, () => rowsByProtocol(this.#received))
    counter(registry, sent, () => rowsByProtocol(this.#sent))
    counter(registry, strikes, () => this.#strikeRows())
    gauge(registry, FAMILIES.held, () => single(this.#heldNow()))
    counter(registry, FAMILIES.heldTotal, () =>
      HOLD_REASONS.map((reason) => [{ reason }, this.#held[reason]]),
    )
    counter(registry, FAMILIES.heldEnded, () =>
      HOLD_REASONS.flatMap((reason) =>
        HOW.map((how): Row<'reason' | 'how'> => [{ reason, how }, this.#heldEnded[reason][how]]),
      ),
    )
    histogram(registry, FAMILIES.hold, [[{}, this.#holds]])
  }

  /** A request's headers are there. */
  arrived({ protocol, signal }: Arrival): void {
    this.#arrivals[protocol][signal] += 1
  }

  /** A request has ended. */
  ended({ protocol, signal }: Arrival, { outcome, durationMs, bytesIn, bytesOut }: Ending): void {
    this.#outcomes[protocol][signal][outcome] += 1
    this.#durations[protocol][groupOf(outcome)].observe(durationMs / 1000)
    // Most refusals are answered before the body: they would only show how many there are.
    if (bytesIn > 0) this.#sizes[protocol].observe(bytesIn)
    this.#received[protocol] += bytesIn
    this.#sent[protocol] += bytesOut
  }

  /** A request began to wait. */
  held(why: HoldReason): void {
    this.#held[why] += 1
  }

  /** A wait ended. */
  unheld(why: HoldReason, how: (typeof HOW)[number], waitedMs: number): void {
    this.#heldEnded[why][how] += 1
    this.#holds.observe(waitedMs / 1000)
  }

  #heldNow(): number {
    let now = 0
    for (const reason of HOLD_REASONS) {
      now += this.#held[reason]
      for (const how of HOW) now -= this.#heldEnded[reason][how]
    }
    return now
  }

  #inFlightRow(protocol: Protocol): Row<'protocol'> {
    let inFlight = 0
    for (const signal of SIGNAL_LABELS) {
      inFlight += this.#arrivals[protocol][signal]
      for (const outcome of OUTCOMES) inFlight -= this.#outcomes[protocol][signal][outcome]
    }
    return [{ protocol }, inFlight]
  }

  *#arrivalRows(): Generator<Row<'protocol' | 'signal'>> {
    for (const protocol of PROTOCOLS)
      for (const signal of SIGNAL_LABELS)
        yield [{ protocol, signal }, this.#arrivals[protocol][signal]]
  }

  *#outcomeRows(): Generator<Row<'protocol' | 'signal' | 'outcome'>> {
    for (const protocol of PROTOCOLS)
      for (const signal of SIGNAL_LABELS)
        for (const outcome of OUTCOMES)
          yield [{ protocol, signal, outcome }, this.#outcomes[protocol][signal][outcome]]
  }

  *#strikeRows(): Generator<Row<'reason'>> {
    for (const reason of STRIKES) {
      let strikes = 0
      for (const protocol of PROTOCOLS)
        for (const signal of SIGNAL_LABELS) strikes += this.#outcomes[protocol][signal][reason]
      yield [{ reason }, strikes]
    }
  }
}

const FAMILIES = {
  arrivals: {
    name: 'tollgate_arrivals_total',
    help: 'Requests whose headers arrived.',
    labels: ['protocol', 'signal'],
  },
  outcomes: {
    name: 'tollgate_outcomes_total',
    help: 'Requests that ended, by how they ended. Every request ends in exactly one outcome.',
    labels: ['protocol', 'signal', 'outcome'],
  },
  inFlight: {
    name: 'tollgate_in_flight',
    help: 'Requests that arrived and have not ended. Arrivals = outcomes + in flight.',
    labels: ['protocol'],
  },
  duration: {
    name: 'tollgate_request_duration_seconds',
    help: 'Time from the headers of a request to its end, waiting included.',
    labels: ['protocol', 'group'],
  },
  size: {
    name: 'tollgate_request_bytes',
    help: 'Size of request messages as they came in, of which at least a byte was read.',
    labels: ['protocol'],
  },
  received: {
    name: 'tollgate_received_bytes_total',
    help: 'Bytes of request messages read.',
    labels: ['protocol'],
  },
  sent: {
    name: 'tollgate_sent_bytes_total',
    help: 'Bytes of answers sent.',
    labels: ['protocol'],
  },
  strikes: {
    name: 'tollgate_strikes_total',
    help: 'Refusals of the kind that counts towards a ban, exempt addresses included.',
    labels: ['reason'],
  },
  held: {
    name: 'tollgate_held',
    help: 'Requests waiting now instead of being refused.',
    labels: [],
  },
  heldTotal: {
    name: 'tollgate_held_total',
    help: 'Requests that began to wait, by what for.',
    labels: ['reason'],
  },
  heldEnded: {
    name: 'tollgate_held_ended_total',
    help: 'Waits that ended: saved (the request went on), refused (no time left), gone (the client left).',
    labels: ['reason', 'how'],
  },
  hold: {
    name: 'tollgate_hold_seconds',
    help: 'How long requests waited.',
    labels: [],
  },
} as const

const FAILED: ReadonlySet<Outcome> = new Set<Reason>(FAULT_REASONS)
const TAKEN: ReadonlySet<Outcome> = new Set<Outcome>(ANSWERED)
const GROUP_OF = record(OUTCOMES, (outcome): Group => {
  if (TAKEN.has(outcome)) return 'answered'
  return FAILED.has(outcome) ? 'failed' : 'refused'
})

function groupOf(outcome: Outcome): Group {
  return GROUP_OF[outcome]
}

function record<K extends string, V>(keys: readonly K[], value: (key: K) => V): Record<K, V> {
  return Object.fromEntries(keys.map((key) => [key, value(key)])) as Record<K, V>
}

function perProtocol<V>(value: () => V): Record<Protocol, V> {
  return record(PROTOCOLS, value)
}

function perSignal<V>(value: () => V): Record<Arrival['signal'], V> {
  return record(SIGNAL_LABELS, value)
}

function rowsByProtocol(numbers: Readonly<Record<Protocol, number>>): Row<'protocol'>[] {
  return PROTOCOLS.map((protocol) => [{ protocol }, numbers[protocol]])
}
