/** What a check found out: one row of the table. */

/** How a row ended. A row that could not be looked at is no pass. */
export type Status = 'pass' | 'fail' | 'skip'

/** One question about a server, and its answer. */
export interface Row {
  /** The check it belongs to: a heading of docs/validate.md. */
  readonly check: string
  /** What is expected, as a sentence without its full stop. */
  readonly expected: string
  readonly status: Status
  /** What was seen, with its unit; for `skip` why it was not looked at. */
  readonly figure: string
  /** A command that shows the same by hand. */
  readonly byHand: string
}

/** A row that is either good or bad. */
export function judged(
  check: string,
  expected: string,
  isGood: boolean,
  figure: string,
  byHand: string,
): Row {
  return { check, expected, status: isGood ? 'pass' : 'fail', figure, byHand }
}

/** A row that was not looked at, and why. */
export function skipped(check: string, expected: string, why: string, byHand = '–'): Row {
  return { check, expected, status: 'skip', figure: why, byHand }
}

/** 0 where something passed and nothing failed, else 1. `isStrict` counts a skip as a failure. */
export function exitCodeOf(rows: readonly Row[], isStrict: boolean): 0 | 1 {
  const has = (status: Status) => rows.some((row) => row.status === status)
  return has('fail') || !has('pass') || (isStrict && has('skip')) ? 1 : 0
}
