/** `tollgate rotate` itself: begins rotations, takes them as far as they go, and says where they stand. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { controlSocketPath } from '../admin/control.ts'
import { nearest } from '../config/nearest.ts'
import { advance } from '../rotation/advance.ts'
import { begin, beginningOf, dueMs } from '../rotation/begin.ts'
import { LOCAL } from '../rotation/gateway-calls.ts'
import { preflight } from '../rotation/preflight.ts'
import type { Plan } from '../rotation/rotation.ts'
import { RotationFault } from '../rotation/rotation-fault.ts'
import { AnotherRun, takeRunLock } from '../rotation/run-lock.ts'
import { readSet } from '../rotation/set-edit.ts'
import { type Entry, isUsable, modelOf } from '../rotation/set-entries.ts'
import { onDate } from '../rotation/words.ts'
import type { World } from '../rotation/world.ts'
import { SourceFault } from '../secrets/source-fault.ts'
import type { CommandIo } from './io.ts'
import { assertPlacesApart, placesOf, type RotateOptions } from './rotate-options.ts'
import {
  conclude,
  exitCodeOf,
  type Result,
  type Run,
  say,
  tellDifferences,
} from './rotate-results.ts'
import { audit, CLOCK, journalOf, type RotateSettings, worldOf } from './rotate-world.ts'
import { ensureStateDirectory } from './state-directory.ts'
import { UsageError } from './token-entry.ts'

/** With --wait: how long to sleep between two looks. */
const LEAST_SLEEP_MS = 1_000
const MOST_SLEEP_MS = 5_000

/** Resolves with the exit code. What is wrong before anything was begun is thrown. */
export async function runRotations(
  options: RotateOptions,
  settings: RotateSettings,
  io: CommandIo,
): Promise<number> {
  const run: Run = {
    options,
    settings,
    io,
    events: [],
    entries: [],
    seen: new Set(),
    isHurried: false,
  }
  const holders = await holdersOf(run)
  if (!options.isDryRun) await ensureStateDirectory(settings.stateDir)
  const told = new Map<string, string>()
  let left = holders
  const results = new Map<string, Result>()
  for (;;) {
    for (const result of await passOrWait(left, run)) {
      results.set(result.holder, result)
      say(result, run, told)
    }
    left = left.filter((holder) => isToBeContinued(results.get(holder)))
    if (!options.isWaiting || left.length === 0) break
    const nextMs = Math.min(...left.map((holder) => nextLookMs(results.get(holder))))
    await CLOCK.sleep(Math.min(MOST_SLEEP_MS, Math.max(LEAST_SLEEP_MS, nextMs - Date.now())))
  }
  conclude([...results.values()], run)
  return Math.max(...[...results.values()].map(exitCodeOf))
}

/** With --wait, another run at work is waited for, too. */
async function passOrWait(holders: readonly string[], run: Run): Promise<readonly Result[]> {
  try {
    return await pass(holders, run)
  } catch (error) {
    if (!(error instanceof AnotherRun && run.options.isWaiting)) throw error
    const standing = { kind: 'stopped', words: error.message, isTemporary: true } as const
    return holders.map((holder) => ({ holder, standing }))
  }
}

/** One pass over these holders, with the lock held; asleep it is not, so that others may act. */
async function pass(holders: readonly string[], run: Run): Promise<readonly Result[]> {
  const { settings, options } = run
  if (options.isDryRun) return await Promise.all(holders.map((holder) => tryOne(holder, run)))
  const lock = await takeRunLock(join(settings.stateDir, 'rotations')).catch((error: unknown) => {
    if (error instanceof AnotherRun)
      error.message += '; wait for its end, or see tollgate rotate status'
    throw error
  })
  try {
    await journalOf(settings).sweep()
    const results: Result[] = []
    run.isHurried = false
    for (const holder of holders) {
      const result = await runOne(holder, run)
      results.push(result)
      run.isHurried ||= result.standing.kind === 'stopped' && result.standing.hasWaited === true
    }
    return results
  } finally {
    await lock.release()
  }
}

async function runOne(holder: string, run: Run): Promise<Result> {
  const { settings, options } = run
  const rotation = await journalOf(settings).load(holder)
  if (rotation === undefined && run.seen.has(holder))
    return { holder, standing: { kind: 'not due', words: 'another run has ended the rotation' } }
  const early = notDue(modelOf(run.entries, holder, CLOCK.now().wallMs), run)
  if (rotation === undefined && early !== undefined) return { holder, standing: early }
  const world = await openWorld(rotation?.plan.truth ?? options.truth ?? settings.truth, run)
  try {
    if (rotation !== undefined) {
      if (!run.seen.has(holder)) tellDifferences(rotation, run)
      run.seen.add(holder)
      return { holder, id: rotation.id, standing: await advance(rotation, world) }
    }
    const beginning = await beginningOf(holder, world)
    // Another run may have been quicker since the set was read first.
    const late = notDue(beginning.model, run)
    if (late !== undefined) return { holder, standing: late }
    const plan = planOf(holder, world.truth.place, run)
    const { obstacles } = await preflight(plan, beginning, world)
    if (obstacles.length > 0) {
      const words = `not begun, and nothing changed: ${obstacles.join('; ')}`
      return { holder, standing: { kind: 'stopped', words, isTemporary: false } }
    }
    const begun = await begin(holder, plan, world)
    run.seen.add(holder)
    return { holder, id: begun.id, standing: await advance(begun, world) }
  } catch (error) {
    if (!(error instanceof SourceFault)) throw error
    const { message: words, isTemporary } = error
    return { holder, standing: { kind: 'stopped', words, isTemporary } }
  } finally {
    await world.truth.close().catch(() => undefined)
  }
}

/** Why nothing is begun yet for the holder of a token; undefined where it is time. */
function notDue(model: Entry | undefined, { options }: Run) {
  if (options.everyMs === undefined || model === undefined) return undefined
  const due = dueMs(model, options.everyMs)
  if (due <= CLOCK.now().wallMs) return undefined
  const words = `token ${model.id} is not due before ${onDate(due)}; nothing to do`
  return { kind: 'not due', words } as const
}

/** What would be done for a holder; nothing is. */
async function tryOne(holder: string, run: Run): Promise<Result> {
  const { settings, options } = run
  const rotation = await journalOf(settings).load(holder)
  if (rotation !== undefined) {
    const words = `a rotation to ${rotation.id} is under way at the step ${rotation.step}; a run would go on with it (see tollgate rotate status)`
    return { holder, id: rotation.id, standing: { kind: 'tried', words } }
  }
  const world = await openWorld(options.truth ?? settings.truth, run)
  try {
    const beginning = await beginningOf(holder, world)
    const plan = planOf(holder, world.truth.place, run)
    const { findings, obstacles } = await preflight(plan, beginning, world)
    const due = options.everyMs === undefined ? 0 : dueMs(beginning.model, options.everyMs)
    const when = due > CLOCK.now().wallMs ? `from ${onDate(due)} on, a run` : 'a run'
    const old = beginning.old.map(({ id }) => id).join(', ') || 'none that is still valid'
    const words = [
      `${when} would make a token like ${beginning.model.id}, put its digest into ${plan.truth}, deliver it, and retire ${old}`,
      ...findings.map((each) => `ok   ${each}`),
      ...obstacles.map((each) => `BAD  ${each}`),
    ].join('\n  ')
    return obstacles.length === 0
      ? { holder, standing: { kind: 'tried', words } }
      : { holder, standing: { kind: 'stopped', words, isTemporary: false } }
  } finally {
    await world.truth.close().catch(() => undefined)
  }
}

function planOf(holder: string, truth: string, { options, settings }: Run): Plan {
  const deliver = placesOf(options.deliver, holder)
  if (deliver.length === 0)
    throw new UsageError(
      '--deliver is missing; expected where the new token goes, such as --deliver file:/run/agent/token (it is never printed)',
    )
  const { gateways, quietMs, deadlineMs, revokeAfterMs, acceptWithinMs } = options
  const hasLocal = gateways.length === 0 || existsSync(controlSocketPath(settings.stateDir))
  return {
    truth,
    deliver,
    gateways: [...new Set(hasLocal ? [LOCAL, ...gateways] : gateways)],
    quietMs,
    ...(deadlineMs !== undefined && { deadlineMs }),
    revokeAfterMs,
    acceptWithinMs,
  }
}

async function holdersOf(run: Run): Promise<readonly string[]> {
  const { options, settings } = run
  const underWay = (await journalOf(settings).loadAll()).map(({ holder }) => holder)
  const truth = options.truth ?? settings.truth
  const world = await openWorld(truth, run)
  try {
    // What is under way can go on though its set cannot be read just now: that is told in its turn.
    const entries = await readSet(world.truth).catch((error: unknown) => {
      if (underWay.length === 0) throw error
      return []
    })
    run.entries = entries
    const nowMs = CLOCK.now().wallMs
    const usable = entries.filter((entry) => isUsable(entry, nowMs)).map(({ holder }) => holder)
    const known = [...new Set([...underWay, ...usable])]
    const asked = options.isAll ? known : options.holders
    const chosen = asked.length > 0 ? asked : known
    if (known.length === 0 && asked.length === 0)
      throw new RotationFault(
        `${truth} has no valid token; the first one is made by tollgate token create`,
      )
    for (const holder of chosen) {
      if (known.includes(holder) || entries.some((entry) => entry.holder === holder)) continue
      const near = nearest(holder, known)
      const hint = near === undefined ? '' : `; did you mean ${JSON.stringify(near)}?`
      throw new UsageError(
        `--holder ${JSON.stringify(holder)}: ${truth} has no token of that name${hint}`,
      )
    }
    if (asked.length === 0 && chosen.length > 1) {
      const names = chosen.slice(0, 10).map((name) => JSON.stringify(name))
      throw new UsageError(
        `${chosen.length} holders have tokens (${names.join(', ')}${chosen.length > 10 ? ', …' : ''}); name one with --holder, or give --all`,
      )
    }
    assertPlacesApart(options.deliver, chosen)
    return chosen
  } finally {
    await world.truth.close().catch(() => undefined)
  }
}

async function openWorld(truth: string, run: Run): Promise<World> {
  const { settings, io, events, options } = run
  const world = await worldOf(truth, settings, async (event) => {
    events.push(event)
    if (!options.isJson) io.stdout.write(`${event.holder}: ${event.words}\n`)
    await audit(settings, event, (words) => io.stderr.write(`tollgate rotate: ${words}\n`))
  })
  return { ...world, isHurried: () => run.isHurried }
}

function isToBeContinued(result: Result | undefined): boolean {
  const standing = result?.standing
  return standing?.kind === 'waiting' || (standing?.kind === 'stopped' && standing.isTemporary)
}

function nextLookMs(result: Result | undefined): number {
  return result?.standing.kind === 'waiting' ? result.standing.untilMs : Date.now() + MOST_SLEEP_MS
}
