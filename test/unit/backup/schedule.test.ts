/** When a backup is due. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { dutyAt, type Known, lastDue } from '../../../docker/backup/src/schedule.ts'

const at = (text: string) => Date.parse(`2026-11-${text}Z`)
const AT = 3 * 60 + 15
const known = (
  local: string | undefined,
  s3?: string,
  attempt?: Known<string>['attempt'],
): Known<string> => ({
  newestMs: new Map([
    ['local', local === undefined ? undefined : at(local)],
    ...(s3 === undefined ? [] : [['s3', s3 === '' ? undefined : at(s3)] as const]),
  ]),
  attempt,
})

describe('lastDue', () => {
  it('is today from that minute on, and yesterday before it', () => {
    assert.equal(lastDue(at('30T03:15:00'), AT), at('30T03:15:00'))
    assert.equal(lastDue(at('30T03:14:59'), AT), at('29T03:15:00'))
    assert.equal(lastDue(at('30T23:59:59'), AT), at('30T03:15:00'))
  })
})

describe('dutyAt', () => {
  it('makes the first backup at once', () => {
    assert.deepEqual(dutyAt(at('30T12:00:00'), AT, known(undefined)), { do: 'backup' })
  })

  it('makes one a day, at its time', () => {
    assert.deepEqual(dutyAt(at('30T03:14:50'), AT, known('29T03:15:07')), { do: 'nothing' })
    assert.deepEqual(dutyAt(at('30T03:15:00'), AT, known('29T03:15:07')), { do: 'backup' })
    assert.deepEqual(dutyAt(at('30T20:00:00'), AT, known('30T03:15:00')), { do: 'nothing' })
  })

  it('makes up for a night that the machine was off', () => {
    assert.deepEqual(dutyAt(at('30T09:00:00'), AT, known('28T03:15:00')), { do: 'backup' })
  })

  it('tries again an hour after a failure, and not before', () => {
    const failed = { atMs: at('30T03:15:00'), isSuccess: false }
    const state = known('29T03:15:00', undefined, failed)
    assert.deepEqual(dutyAt(at('30T04:14:59'), AT, state), { do: 'nothing' })
    assert.deepEqual(dutyAt(at('30T04:15:00'), AT, state), { do: 'backup' })
  })

  it('after a failure yesterday begins at its time all the same', () => {
    const failed = { atMs: at('30T02:45:00'), isSuccess: false }
    assert.deepEqual(dutyAt(at('30T03:15:00'), AT, known('29T01:00:00', undefined, failed)), {
      do: 'backup',
    })
  })

  it('brings a copy to who lacks it, in place of one more backup', () => {
    const copy = { do: 'copy', from: 'local', to: ['s3'] }
    assert.deepEqual(dutyAt(at('30T05:00:00'), AT, known('30T03:15:00', '29T03:15:00')), copy)
    assert.deepEqual(dutyAt(at('30T05:00:00'), AT, known('30T03:15:00', '')), copy)
    const both = known('29T03:15:00', '29T03:15:00')
    assert.deepEqual(dutyAt(at('30T05:00:00'), AT, both), { do: 'backup' })
  })
})
