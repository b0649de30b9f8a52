import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { targetOf } from '../../../../src/secrets/dokploy/target.ts'
import { parsePlace } from '../../../../src/secrets/place.ts'

function target(text: string) {
  const place = parsePlace(text)
  assert.ok(place)
  return targetOf(place)
}

describe('targetOf', () => {
  it('reads each kind, with the least that puts it in force', () => {
    const id = 'V1StGXR8_Z5jdHi6B-myT'
    const variable = 'TOKEN'
    assert.deepEqual(target(`dokploy:application/${id}#TOKEN`), {
      kind: 'application',
      id,
      variable,
      how: 'reload',
    })
    assert.deepEqual(target(`dokploy:compose/${id}#TOKEN`), {
      kind: 'compose',
      id,
      variable,
      how: 'redeploy',
    })
    assert.deepEqual(target(`dokploy:mount/${id}`), { kind: 'mount', id, variable: undefined })
    assert.deepEqual(target(`dokploy:mount/${id}#TOKEN`), { kind: 'mount', id, variable })
  })

  it('reads how', () => {
    for (const [text, how] of [
      ['application/a?how=reload', 'reload'],
      ['application/a?how=redeploy', 'redeploy'],
      ['application/a?how=deploy', 'deploy'],
      ['compose/a?how=redeploy', 'redeploy'],
      ['compose/a?how=deploy', 'deploy'],
    ] as const) {
      const read = target(`dokploy:${text}#TOKEN`)
      assert.ok(read.kind !== 'mount')
      assert.equal(read.how, how)
    }
  })

  it('refuses the rest in words', () => {
    for (const [text, words] of [
      ['dokploy:app/a#T', /names neither an application, a compose service nor a mount; write/],
      ['dokploy:application/#T', /names neither/],
      ['dokploy:application/a/b#T', /names neither/],
      ['dokploy:application/a', /does not say which variable to set; write/],
      ['dokploy:application/a#1T', /"1T" is no name of a variable/],
      ['dokploy:application/a#T?how=deploy', /"T\?how=deploy" is no name of a variable/],
      ['dokploy:application/a?how=stop#T', /\?how=stop is no way to put it in force/],
      ['dokploy:application/a?#T', /\? is no way/],
      ['dokploy:compose/a?how=reload#T', /write \?how= with redeploy or deploy$/],
      ['dokploy:mount/a?how=deploy#T', /a mount is changed in place/],
    ] as const) {
      assert.throws(() => target(text), { name: 'SourceFault', message: words }, text)
    }
  })
})
