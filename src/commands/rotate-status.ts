/** `tollgate rotate status` and `history`: where rotations stand, and who holds them back. */
import { type Evidence, type OldUse, weigh } from '../rotation/evidence.ts'
import type { PastRotation, Rotation } from '../rotation/rotation.ts'
import { iso } from '../rotation/set-entries.ts'
import { inWords, onDate, whoIsLate } from '../rotation/words.ts'
import type { CommandIo } from './io.ts'
import type { RotateOptions } from './rotate-options.ts'
import { CLOCK, gatewaysOf, journalOf, type RotateSettings } from './rotate-world.ts'

const OK = 0
const DONE = {
  publish: 'made, not published yet',
  accept: 'published, not accepted by every gateway yet',
  deliver: 'accepted by every gateway, not delivered everywhere yet',
  retire: 'delivered; the old one is about to be retired',
  watch: 'delivered; the old one is watched',
  revoke: 'delivered; the old one is refused, and not revoked yet',
} as const satisfies Record<Rotation['step'], string>

/** One rotation with what the gateways say of it now. */
interface Standing {
  readonly rotation: Rotation
  readonly evidence: Evidence
}

/** Shows all rotations under way, or those of the holders asked for. Changes nothing, and takes no lock. */
export async function showStatus(
  { holders, isJson }: RotateOptions,
  settings: RotateSettings,
  { stdout }: CommandIo,
): Promise<number> {
  const all = await journalOf(settings).loadAll()
  const rotations = all.filter(({ holder }) => holders.length === 0 || holders.includes(holder))
  const gateways = gatewaysOf(settings)
  const standings = await Promise.all(
    rotations.map(async (rotation): Promise<Standing> => {
      const answers = await gateways.ask(rotation.plan.gateways)
      return { rotation, evidence: weigh(rotation, answers, CLOCK.now()) }
    }),
  )
  const nowMs = Date.now()
  if (isJson) {
    const shown = standings.map((each) => json(each))
    stdout.write(`${JSON.stringify({ rotations: shown }, undefined, 2)}\n`)
  } else if (standings.length === 0) stdout.write('No rotation is under way.\n')
  else stdout.write(standings.map((each) => screen(each, nowMs)).join('\n'))
  return OK
}

/** Shows rotations that are over, the latest last. */
export async function showHistory(
  { holders, isJson }: RotateOptions,
  settings: RotateSettings,
  { stdout }: CommandIo,
): Promise<number> {
  const all = await journalOf(settings).history()
  const past = all.filter(({ holder }) => holders.length === 0 || holders.includes(holder))
  if (isJson) {
    const rotations = past.map(({ startedAtMs, endedAtMs, ...rest }) => {
      return { ...rest, startedAt: iso(startedAtMs), endedAt: iso(endedAtMs) }
    })
    stdout.write(`${JSON.stringify({ rotations }, undefined, 2)}\n`)
  } else if (past.length === 0) stdout.write('No rotation is over yet.\n')
  else stdout.write(past.map(line).join(''))
  return OK
}

function line({ holder, id, old, startedAtMs, endedAtMs, outcome }: PastRotation): string {
  const took = inWords(endedAtMs - startedAtMs)
  const from = old.join(', ') || 'nothing valid'
  return `${onDate(endedAtMs)}  ${holder}: from ${from} to ${id}, ${outcome} after ${took}\n`
}

function screen({ rotation, evidence }: Standing, nowMs: number): string {
  const { holder, id, step, stepSinceMs, plan, delivered, problem, abort } = rotation
  const since = `since ${onDate(stepSinceMs)} (${inWords(nowMs - stepSinceMs)})`
  const lines = [`${holder}: new token ${id} is ${DONE[step]}, ${since}`]
  for (const { place, atMs } of delivered) lines.push(`  delivered  ${place} on ${onDate(atMs)}`)
  for (const place of plan.deliver)
    if (!delivered.some((done) => done.place === place)) lines.push(`  to do      ${place}`)
  const { newUsedMs } = evidence
  if (delivered.length > 0)
    lines.push(
      `  new token  ${newUsedMs === undefined ? 'not used yet' : `first used ${ago(newUsedMs, nowMs)}`}`,
    )
  if (step === 'watch' || step === 'revoke')
    for (const use of evidence.old) {
      lines.push(`  old token  ${oldLine(use, nowMs)}`)
      const late = whoIsLate(use)
      if (late !== '') lines.push(`  refused    ${late}`)
    }
  for (const objection of evidence.objections) lines.push(`  gateway    ${objection}`)
  if (problem !== undefined) lines.push(`  problem    ${problem}`)
  lines.push(
    `  next       ${abort === undefined ? next(rotation, evidence, nowMs) : 'the next run goes back'}`,
  )
  return `${lines.join('\n')}\n`
}

function oldLine({ token, lastUsedMs, lastUse, requestsSince }: OldUse, nowMs: number): string {
  if (lastUsedMs === undefined) return `${token.id}: never used`
  const program = lastUse?.program === undefined ? '' : ` with ${lastUse.program}`
  const how = [lastUse?.protocol, lastUse?.signal].filter((word) => word !== '').join(', ')
  const where = lastUse === undefined ? '' : ` from ${lastUse.address}${program} (${how})`
  return `${token.id}: last used ${ago(lastUsedMs, nowMs)}${where}; ${requestsSince} requests since it was retired`
}

function next(rotation: Rotation, { old }: Evidence, nowMs: number): string {
  const { step, plan, deadlineAtMs, refusedAtMs = nowMs } = rotation
  const isDone = 'by the next run'
  if (step === 'publish') return `its digest goes into ${plan.truth}, ${isDone}`
  if (step === 'accept') return 'every gateway has to accept it'
  if (step === 'deliver') return `the rest is delivered, ${isDone}`
  if (step === 'retire') return `the old one is retired, ${isDone}`
  if (step === 'revoke')
    return `the old one is revoked, by a run after ${onDate(refusedAtMs + plan.revokeAfterMs)}`
  const live = old.filter(({ token }) => token.refusedAtMs === undefined)
  const quietForMs = Math.min(plan.quietMs, ...live.map((use) => Math.max(0, use.quietForMs)))
  const end =
    deadlineAtMs === undefined
      ? 'however long that takes'
      : `at the latest on ${onDate(deadlineAtMs)} (in ${inWords(deadlineAtMs - nowMs)})`
  return `the old one is refused when unused for ${inWords(plan.quietMs)} (now ${inWords(quietForMs)}) and the new one is in use, ${end}`
}

function json({ rotation, evidence }: Standing) {
  const { token: _, sha256: __, plan, old: ___, startedAtMs, stepSinceMs, ...rest } = rotation
  const { holder, id, step, delivered, retiredAtMs, deadlineAtMs, refusedAtMs, problem, abort } =
    rest
  return {
    holder,
    id,
    step,
    stepSince: iso(stepSinceMs),
    startedAt: iso(startedAtMs),
    isGoingBack: abort !== undefined,
    problem: problem ?? null,
    retiredAt: moment(retiredAtMs),
    deadlineAt: moment(deadlineAtMs),
    refusedAt: moment(refusedAtMs),
    newUsedAt: moment(evidence.newUsedMs),
    objections: evidence.objections,
    delivered: delivered.map(({ place, atMs, words }) => ({ place, at: iso(atMs), words })),
    old: evidence.old.map(({ token, lastUsedMs, quietForMs, requestsSince, lastUse, refused }) => ({
      id: token.id,
      lastUsedAt: moment(lastUsedMs),
      quietForMs,
      requestsSince,
      lastUse: lastUse ?? null,
      refused:
        refused === undefined
          ? null
          : { ...refused, lastMs: undefined, lastAt: iso(refused.lastMs) },
    })),
    plan,
  }
}

function moment(ms: number | undefined): string | null {
  return ms === undefined ? null : iso(ms)
}

function ago(ms: number, nowMs: number): string {
  return nowMs - ms < 1000 ? 'just now' : `${inWords(nowMs - ms)} ago`
}
