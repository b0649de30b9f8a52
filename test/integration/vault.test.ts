/** Vault as a place for tokens, against the stand-in. What a sound server never does is in vault-faults. */
import { test } from 'node:test'
import { startStandInVault } from '../support/vault.ts'
import { CONTRACT } from '../support/vault-contract.ts'

test('the contract holds on the stand-in', { concurrency: true }, async (t) => {
  await Promise.all(
    Object.entries(CONTRACT).map(([title, check]) =>
      t.test(title, async (inner) => check(await startStandInVault(inner), inner)),
    ),
  )
})
