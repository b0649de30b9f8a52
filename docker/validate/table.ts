/** The table for people, and the same for machines. */
import type { Row } from './row.ts'

const WIDEST_FIGURE = 60

/** Lines of text: a row each, what to run by hand below those that did not pass, the sums last. */
export function tableOf(rows: readonly Row[], hasCommands: boolean): string {
  const width = (pick: (row: Row) => string) =>
    Math.min(WIDEST_FIGURE, Math.max(0, ...rows.map((row) => pick(row).length)))
  const checkWidth = width(({ check }) => check)
  const expectedWidth = width(({ expected }) => expected)
  const lines = rows.flatMap((row) => {
    const { status, check, expected, figure, byHand } = row
    const line = `${status.toUpperCase()}  ${check.padEnd(checkWidth)}  ${expected.padEnd(expectedWidth)}  ${figure}`
    const after =
      status === 'fail'
        ? [`      by hand: ${byHand}`, `      what to do: docs/validate.md#${anchorOf(check)}`]
        : hasCommands && byHand !== '–'
          ? [`      by hand: ${byHand}`]
          : []
    return [line, ...after]
  })
  return [...lines, '', sumsOf(rows)].join('\n')
}

/** `12 passed, 1 failed, 2 skipped`. */
export function sumsOf(rows: readonly Row[]): string {
  const count = (status: Row['status']) => rows.filter((row) => row.status === status).length
  return `${count('pass')} passed, ${count('fail')} failed, ${count('skip')} skipped`
}

/** One JSON object: the rows and the sums. */
export function jsonOf(target: string, rows: readonly Row[]): string {
  const count = (status: Row['status']) => rows.filter((row) => row.status === status).length
  return JSON.stringify(
    { target, passed: count('pass'), failed: count('fail'), skipped: count('skip'), rows },
    null,
    2,
  )
}

/** The heading of a check in docs/validate.md as a link names it. */
export function anchorOf(check: string): string {
  return check.toLowerCase().replaceAll(' ', '-')
}
