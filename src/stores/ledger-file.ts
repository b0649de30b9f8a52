/** Keeps the ledger of tokens over a restart: a row for each token that was ever used or refused. */
import { SIGNALS } from '../otlp/signal.ts'
import { REFUSAL_REASONS } from '../pipeline/outcome.ts'
import type { Clock } from '../pipeline/ports.ts'
import { Account, type Totals } from './ledger.ts'
import { StateFile, type StateFileOptions } from './state-file.ts'
import { asCount, asObject, asText, asTime, iso, type Row, rows } from './state-rows.ts'

/** Uses are on disk this long after they happened. */
const SAVE_AFTER_MS = 5000
/** Rows in one piece of the text: requests have their turn between two. */
const ROWS_A_PIECE = 500

const SIGNAL = [...SIGNALS, 'none'] as const
const PROTOCOL = ['grpc', 'http'] as const

/** What is kept: `TokenStore` is one. */
export interface LedgerMemory {
  accounts(wallMs: number): Iterable<readonly [string, Account]>
  restore(kept: Iterable<readonly [string, Account]>): void
  watch(onChange: () => void): void
}

/** Reads the file into `memory`, and saves what becomes of tokens from then on. */
export async function keepLedger(
  options: StateFileOptions,
  memory: LedgerMemory,
): Promise<StateFile> {
  const file = await StateFile.open(options, {
    restore: (text) => memory.restore(parseLedger(text)),
    pieces: () => ledgerPieces(memory, options.clock),
  })
  memory.watch(() => file.saveSoon(SAVE_AFTER_MS))
  return file
}

/** The file's text, in pieces: JSON, a line for each token, times in UTC. */
export function* ledgerPieces(
  memory: Pick<LedgerMemory, 'accounts'>,
  clock: Pick<Clock, 'wallMs'>,
): Generator<string> {
  let piece = '{"version":1,"tokens":['
  let count = 0
  for (const [id, account] of memory.accounts(clock.wallMs())) {
    if (account.firstUsedMs === 0 && account.lastRefusedMs === 0) continue
    piece += `${count === 0 ? '' : ','}\n${JSON.stringify(rowOf(id, account))}`
    count += 1
    if (count % ROWS_A_PIECE > 0) continue
    yield piece
    piece = ''
  }
  yield `${piece}\n]}\n`
}

/** Reads what `ledgerPieces` wrote. Throws an Error that names the place that is wrong. */
export function parseLedger(text: string): [string, Account][] {
  const file = asObject(JSON.parse(text), 'the file')
  if (file.version !== 1)
    throw new Error(`version: got ${JSON.stringify(file.version)}, expected 1`)
  return rows(file, 'tokens').map(([row, at]) => [asText(row.id, `${at}.id`), accountOf(row, at)])
}

function rowOf(id: string, account: Account): Row {
  const { mark, firstUsedMs, lastUsedMs, lastRefusedMs, refusedReason, leftMs } = account
  const { address, signal, protocol, userAgent } = account
  const { refusals, ...totals } = account.totals()
  return {
    id,
    mark,
    ...totals,
    refusals: Object.fromEntries(refusals),
    ...(leftMs === 0 ? {} : { leftAt: iso(leftMs) }),
    ...(lastUsedMs === 0
      ? {}
      : {
          firstUsedAt: iso(firstUsedMs),
          lastUse: { at: iso(lastUsedMs), address, signal, protocol, userAgent },
        }),
    ...(refusedReason === undefined
      ? {}
      : {
          lastRefusal: {
            at: iso(lastRefusedMs),
            address: account.refusedAddress,
            reason: refusedReason,
            userAgent: account.refusedUserAgent,
          },
        }),
  }
}

function accountOf(row: Row, at: string): Account {
  const account = new Account(asText(row.mark, `${at}.mark`))
  account.before = totalsOf(row, at)
  if (row.leftAt !== undefined) account.leftMs = asTime(row.leftAt, `${at}.leftAt`)
  if (row.lastUse !== undefined) {
    const use = asObject(row.lastUse, `${at}.lastUse`)
    account.firstUsedMs = asTime(row.firstUsedAt, `${at}.firstUsedAt`)
    account.lastUsedMs = asTime(use.at, `${at}.lastUse.at`)
    account.address = asText(use.address, `${at}.lastUse.address`)
    account.signal = asWord(use.signal, SIGNAL, `${at}.lastUse.signal`)
    account.protocol = asWord(use.protocol, PROTOCOL, `${at}.lastUse.protocol`)
    account.userAgent = asOptionalText(use.userAgent, `${at}.lastUse.userAgent`)
  }
  if (row.lastRefusal !== undefined) {
    const refusal = asObject(row.lastRefusal, `${at}.lastRefusal`)
    account.lastRefusedMs = asTime(refusal.at, `${at}.lastRefusal.at`)
    account.refusedAddress = asText(refusal.address, `${at}.lastRefusal.address`)
    account.refusedReason = asWord(refusal.reason, REFUSAL_REASONS, `${at}.lastRefusal.reason`)
    account.refusedUserAgent = asOptionalText(refusal.userAgent, `${at}.lastRefusal.userAgent`)
  }
  return account
}

function totalsOf(row: Row, at: string): Totals {
  const counts = Object.entries(asObject(row.refusals, `${at}.refusals`))
  return {
    requests: asCount(row.requests, `${at}.requests`),
    bytes: asCount(row.bytes, `${at}.bytes`),
    graceUses: asCount(row.graceUses, `${at}.graceUses`),
    retiringUses: asCount(row.retiringUses, `${at}.retiringUses`),
    refusals: new Map(
      counts.map(([reason, count]) => [
        asWord(reason, REFUSAL_REASONS, `${at}.refusals`),
        asCount(count, `${at}.refusals.${reason}`),
      ]),
    ),
  }
}

function asWord<Word extends string>(value: unknown, words: readonly Word[], at: string): Word {
  const word = words.find((known) => known === value)
  if (word !== undefined) return word
  throw new Error(`${at}: expected one of ${words.join(', ')}, got ${JSON.stringify(value)}`)
}

function asOptionalText(value: unknown, at: string): string | undefined {
  // An empty one was sent, too.
  if (value === undefined || value === '') return value
  return asText(value, at)
}
