/** What a run of `tollgate rotate` says of each holder, and the exit code it comes to. */
import { LOCAL } from '../rotation/gateway-calls.ts'
import type { Rotation, RotationEvent, Standing } from '../rotation/rotation.ts'
import { type Entry, iso } from '../rotation/set-entries.ts'
import type { CommandIo } from './io.ts'
import { placesOf, type RotateOptions } from './rotate-options.ts'
import type { RotateSettings } from './rotate-world.ts'

const OK = 0
const DATA = 65
const UNAVAILABLE = 69
const TRY_AGAIN = 75

/** How a run left one holder. */
export interface Result {
  readonly holder: string
  readonly id?: string
  readonly standing:
    | Standing
    | { readonly kind: 'not due'; readonly words: string }
    | { readonly kind: 'tried'; readonly words: string }
}

/** One run of the command. */
export interface Run {
  readonly options: RotateOptions
  readonly settings: RotateSettings
  readonly io: CommandIo
  readonly events: RotationEvent[]
  /** The set as it was at the start, where it could be read: most holders are not due. */
  entries: readonly Entry[]
  /** Holders whose rotation was seen under way. */
  readonly seen: Set<string>
  /** Gateways did not take up the token of one holder in time: nobody waits as long again. */
  isHurried: boolean
}

/** A rotation keeps the options that it began with: what this run was told otherwise is said. */
export function tellDifferences({ holder, plan }: Rotation, { options, io }: Run): void {
  const { given, quietMs, deadlineMs, revokeAfterMs, deliver, gateways, truth } = options
  const same = (a: readonly string[], b: readonly string[]) =>
    a.toSorted().join('\n') ===
    b
      .filter((each) => each !== LOCAL)
      .toSorted()
      .join('\n')
  const different = [
    given.has('quiet') && quietMs !== plan.quietMs && '--quiet',
    given.has('deadline') && deadlineMs !== plan.deadlineMs && '--deadline',
    given.has('revoke-after') && revokeAfterMs !== plan.revokeAfterMs && '--revoke-after',
    given.has('truth') && truth !== plan.truth && '--truth',
    given.has('deliver') && !same(placesOf(deliver, holder), plan.deliver) && '--deliver',
    given.has('gateway') &&
      !same(
        gateways.filter((each) => each !== LOCAL),
        plan.gateways,
      ) &&
      '--gateway',
  ].filter((name) => name !== false)
  if (different.length > 0)
    io.stderr.write(
      `tollgate rotate: ${holder}: the rotation under way keeps the ${different.join(', ')} that it began with; the new ones count from the next on\n`,
    )
}

/** Says where a holder's rotation stands, once for each kind of standing. */
export function say(
  { holder, standing }: Result,
  { io, options }: Run,
  told: Map<string, string>,
): void {
  if (options.isJson || standing.kind === 'finished') return
  // While it waits, the same thing is said once, though the seconds in it change.
  const gist = `${standing.kind} ${standing.words.replace(/\d+/g, '')}`
  if (told.get(holder) === gist) return
  told.set(holder, gist)
  if (standing.kind === 'stopped')
    io.stderr.write(`tollgate rotate: ${holder}: ${standing.words}\n`)
  else {
    const kind = standing.kind === 'waiting' ? 'waiting: ' : ''
    io.stdout.write(`${holder}: ${kind}${standing.words}\n`)
  }
}

/** The end of a run: all of it as JSON, or when to come back. */
export function conclude(results: readonly Result[], { io, options, events }: Run): void {
  if (options.isJson) {
    const rotations = results.map(({ holder, id, standing }) => ({
      holder,
      id,
      ...standing,
      ...('untilMs' in standing && { untilMs: undefined, until: iso(standing.untilMs) }),
      events: events.filter((event) => event.holder === holder),
    }))
    io.stdout.write(`${JSON.stringify({ rotations }, undefined, 2)}\n`)
    return
  }
  if (!results.some(({ standing }) => standing.kind === 'waiting')) return
  const hint =
    options.everyMs === undefined
      ? ' (With --every 30d a run begins no new rotation before its time, when this one is over.)'
      : ''
  io.stdout.write(
    `Run the same command again, hourly from cron for instance: it goes on from here, and nothing is lost by it.${hint}\n`,
  )
}

/** 0 where all that could be done is done. */
export function exitCodeOf({ id, standing }: Result): number {
  if (standing.kind !== 'stopped') return OK
  if (standing.isTemporary) return TRY_AGAIN
  return id === undefined ? UNAVAILABLE : DATA
}
