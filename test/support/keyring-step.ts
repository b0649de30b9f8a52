/**
 * One step of a keyring test in a process of its own, as the session bus is found by the environment
 * at its start: `check PLACE`, `deliver PLACE` with the token on standard input, or `read SERVICE
 * USER`. Writes `{ said }` or `{ fault, isTemporary }` as JSON.
 */
import { readFileSync } from 'node:fs'
import { readKeyring } from '../../src/secrets/keyring/read.ts'
import { openDelivery } from '../../src/secrets/open-delivery.ts'
import { parsePlace } from '../../src/secrets/place.ts'
import { SourceFault } from '../../src/secrets/source-fault.ts'

async function step(action = '', ...args: string[]): Promise<string | undefined> {
  const [first = '', second = ''] = args
  if (action === 'read') return await readKeyring(first, second, 20_000)
  const place = parsePlace(first)
  if (place === undefined) throw new Error(`no place: ${first}`)
  const delivery = await openDelivery(place, { timeoutMs: 20_000 })
  if (action === 'check') return await delivery.check()
  return await delivery.deliver({ id: 'k7', holder: 'shop', token: readFileSync(0, 'utf8') })
}

try {
  process.stdout.write(JSON.stringify({ said: (await step(...process.argv.slice(2))) ?? null }))
} catch (error) {
  if (!(error instanceof SourceFault)) throw error
  const { message, isTemporary } = error
  process.stdout.write(JSON.stringify({ fault: message, isTemporary }))
}
