/** Accounts over restarts: one a directory, so that a change to staging and back finds its account again. */

import { AccountKey, newAccountKey, type PrivateJwk } from './account-key.ts'
import { AcmeFault } from './acme-fault.ts'
import type { Account } from './client.ts'

/** A key and, once the directory has answered, the account that it stands for. */
export interface AccountEntry {
  readonly directory: string
  readonly jwk: PrivateJwk
  readonly url?: string
  readonly email?: string | undefined
}

/** Reads the file. @throws {AcmeFault} `local` where it is damaged; quotes nothing of it. */
export function accountsFrom(text: string | undefined, path: string): readonly AccountEntry[] {
  if (text === undefined) return []
  try {
    const { accounts } = JSON.parse(text) as { accounts: readonly AccountEntry[] }
    for (const { directory, jwk } of accounts) {
      if (typeof directory !== 'string') throw new TypeError('no directory')
      new AccountKey(jwk)
    }
    return accounts
  } catch {
    const words = `${path} is damaged; expected the accounts as they were written there; put it back, or remove it for a new account`
    throw new AcmeFault('local', words)
  }
}

/** The entry of a directory; a new key where there is none. */
export function entryFor(accounts: readonly AccountEntry[], directory: string): AccountEntry {
  const known = accounts.find((entry) => entry.directory === directory)
  return known ?? { directory, jwk: newAccountKey() }
}

/** The text of the file, with one entry put in or replaced. */
export function accountsText(accounts: readonly AccountEntry[], entry: AccountEntry): string {
  const others = accounts.filter(({ directory }) => directory !== entry.directory)
  return `${JSON.stringify({ version: 1, accounts: [...others, entry] }, undefined, 1)}\n`
}

/** The account that an entry stands for; undefined for a key that no directory has seen. */
export function accountOf({ directory, jwk, url, email }: AccountEntry): Account | undefined {
  return url === undefined ? undefined : { directory, jwk, url, email }
}
