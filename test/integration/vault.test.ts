/** Vault as a place for tokens, against the stand-in: the contract, and what a sound server never does. */
import { test } from 'node:test'
import { startStandInVault } from '../support/vault.ts'
import { CONTRACT } from '../support/vault-contract.ts'

for (const [title, check] of Object.entries(CONTRACT)) {
  test(title, async (t) => check(await startStandInVault(t), t))
}
