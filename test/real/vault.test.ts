/** Vault as a place for tokens, against the real server: the contract, and Toxiproxy in between. */
import { test } from 'node:test'
import { hasTools } from '../support/tools.ts'
import { CONTRACT } from '../support/vault-contract.ts'
import { startVault } from '../support/vault-real.ts'

test('the contract holds on a real Vault', async (t) => {
  if (!hasTools(t, 'vault')) return
  const server = await startVault(t)
  for (const [title, check] of Object.entries(CONTRACT)) {
    await t.test(title, (inner) => check(server, inner))
  }
})
