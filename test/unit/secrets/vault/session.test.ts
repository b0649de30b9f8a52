/** A process that has nothing else to do ends, though its token would have to be renewed one day. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runToEnd } from '../../../support/child.ts'
import { ROOT } from '../../../support/tools.ts'
import { startStandInVault } from '../../../support/vault.ts'

const PROGRAM = `
  import { VaultClient } from './src/secrets/vault/client.ts'
  const [address, roleId, secretId] = process.argv.slice(1)
  const client = new VaultClient({ address, login: { kind: 'approle', roleId, secretId } })
  await client.ask({ method: 'GET', path: 'auth/token/lookup-self' })
  console.log('done')
`

test('renewal keeps no process alive', async (t) => {
  const server = await startStandInVault(t)
  // A life so long that two thirds of it are more than a timer can take.
  const { roleId, newSecretId } = await server.makeAppRole({ policies: [], ttlSeconds: 10 ** 8 })
  const { code, stdout, stderr } = await runToEnd(
    process.execPath,
    [
      '--input-type=module',
      '--disable-warning=ExperimentalWarning',
      '--eval',
      PROGRAM,
      server.address,
      roleId,
      await newSecretId(),
    ],
    { cwd: ROOT, timeoutMs: 30_000 },
  )
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: 'done', stderr: '' })
  assert.equal(server.count(/renew-self/), 0)
})
