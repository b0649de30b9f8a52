/** All checks in their order, and running those that are wanted. */
import { type Check, type Leave, refusalOf } from './check.ts'
import { accountsCheck } from './checks/accounts.ts'
import { answersCheck } from './checks/answers.ts'
import { arrivalCheck } from './checks/arrival.ts'
import { backupCheck } from './checks/backup.ts'
import { bruteForceCheck } from './checks/brute-force.ts'
import { handshakeCheck } from './checks/handshake.ts'
import { loadCheck } from './checks/load.ts'
import { portsCheck } from './checks/ports.ts'
import { rateCheck } from './checks/rate.ts'
import { reachCheck } from './checks/reach.ts'
import { resourcesCheck } from './checks/resources.ts'
import { testsslCheck } from './checks/testssl.ts'
import { wordsOf } from './probe.ts'
import { missingPrograms } from './programs.ts'
import { judged, type Row, skipped } from './row.ts'
import type { Target } from './target.ts'

/** What bans comes last: afterwards nothing more gets through from here. */
export const CHECKS: readonly Check[] = [
  reachCheck,
  handshakeCheck,
  answersCheck,
  arrivalCheck,
  portsCheck,
  testsslCheck,
  rateCheck,
  loadCheck,
  resourcesCheck,
  backupCheck,
  bruteForceCheck,
  accountsCheck,
]

/** Which checks: those named, or all but those named. Empty: all. */
export interface Choice {
  readonly only: readonly string[]
  readonly skip: readonly string[]
}

export function chosen({ only, skip }: Choice): readonly Check[] {
  return CHECKS.filter(
    ({ name }) => (only.length === 0 || only.includes(name)) && !skip.includes(name),
  )
}

/** Why a check is not run, and undefined where it is. */
export function obstacleTo(check: Check, target: Target, leave: Leave): string | undefined {
  const missing = missingPrograms(check.programs)
  return (
    refusalOf(check.effort, target, leave) ?? (missing.length > 0 ? missing.join(', ') : undefined)
  )
}

/** What is going to be done, a line for each check. */
export function planOf(checks: readonly Check[], target: Target, leave: Leave): readonly string[] {
  return checks.map((check) => {
    const obstacle = obstacleTo(check, target, leave)
    const does =
      obstacle === undefined
        ? `${check.plan(target)} (at most ${check.limitSeconds} s)`
        : `not run: ${obstacle}`
    return `${check.name}: ${does}`
  })
}

/** What goes on meanwhile. */
export interface Events {
  readonly begins?: (check: string) => void
  /** Asked before each check; the rest is skipped. */
  readonly isStopped?: () => boolean
}

/** Runs them one after another. What goes wrong inside of one is a failed row; it never throws. */
export async function runChecks(
  checks: readonly Check[],
  target: Target,
  leave: Leave,
  events: Events = {},
): Promise<readonly Row[]> {
  const rows: Row[] = []
  for (const check of checks) {
    const obstacle = events.isStopped?.() === true ? 'stopped' : obstacleTo(check, target, leave)
    if (obstacle !== undefined) {
      rows.push(skipped(check.name, 'is looked at', obstacle))
      continue
    }
    events.begins?.(check.name)
    rows.push(...(await runOne(check, target)))
  }
  return rows
}

async function runOne(check: Check, target: Target): Promise<readonly Row[]> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const say = () => reject(new Error(`not done after ${check.limitSeconds} s`))
    timer = setTimeout(say, check.limitSeconds * 1000)
  })
  try {
    return await Promise.race([check.run(target), late])
  } catch (error) {
    return [judged(check.name, 'can be looked at', false, wordsOf(error), '–')]
  } finally {
    clearTimeout(timer)
  }
}
