/**
 * What the gateway keeps in its state directory over a restart: bans, and the ledger of tokens. Part
 * of the composition root.
 */
import { join } from 'node:path'
import type { Notices } from './observe/notices.ts'
import type { Clock } from './pipeline/ports.ts'
import { keepBans } from './stores/ban-file.ts'
import type { Bans } from './stores/bans.ts'
import { keepLedger } from './stores/ledger-file.ts'
import type { StateFileEvent } from './stores/state-file.ts'
import type { TokenStore } from './stores/tokens.ts'

export interface StateFileSurroundings {
  readonly stateDir: string
  readonly clock: Clock
  readonly notices: Notices
}

/** Reads both files into their stores and saves them from then on. Only one gateway may have them. */
export async function openStateFiles(
  { stateDir, clock, notices }: StateFileSurroundings,
  bans: Bans,
  tokens: TokenStore,
): Promise<readonly { close(): Promise<void> }[]> {
  const inState = (name: string, onEvent: (event: StateFileEvent) => void) => {
    return { path: join(stateDir, name), clock, onEvent }
  }
  return [
    await keepBans(
      inState('bans.json', (event) => notices.banFile(event)),
      bans,
    ),
    await keepLedger(
      inState('ledger.json', (event) => notices.ledgerFile(event)),
      tokens,
    ),
  ]
}
