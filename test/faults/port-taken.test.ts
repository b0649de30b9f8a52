/** A port that somebody else has: said in words, with exit code 69, and nothing left open. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { FREE_PORTS, runTollgate } from '../support/run-command.ts'

const CASES = (['GRPC', 'HTTP', 'ADMIN'] as const).flatMap((name) =>
  (['on', 'off'] as const).map((parent) => ({ name, parent })),
)

for (const { name, parent } of CASES) {
  test(`TOLLGATE_${name}_LISTEN is taken, TOLLGATE_PARENT=${parent}`, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'tollgate-port-'))
    t.after(() => rm(folder, { recursive: true }))
    const holder = createServer()
    t.after(() => holder.close())
    holder.listen(0, '127.0.0.1')
    await once(holder, 'listening')
    const at = `127.0.0.1:${(holder.address() as AddressInfo).port}`
    const { code, stderr } = await runTollgate(['serve'], {
      ...FREE_PORTS,
      TOLLGATE_STATE_DIR: folder,
      TOLLGATE_PARENT: parent,
      [`TOLLGATE_${name}_LISTEN`]: at,
    })
    assert.equal(code, 69, stderr)
    assert.match(stderr, new RegExp(`tollgate: ${at} is taken by another program`))
    assert.doesNotMatch(stderr, /^ {4}at /m, 'no stack')
    assert.ok(!(await readdir(folder)).includes('control.sock'))
  })
}
