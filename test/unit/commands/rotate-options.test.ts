/** The command line of `tollgate rotate`. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { assertPlacesApart, placesOf, rotateOptions } from '../../../src/commands/rotate-options.ts'

const read = (...argv: string[]) => rotateOptions(argv, '/work')

suite('the options of a rotation', () => {
  test('what is not given', () => {
    const { verb, quietMs, deadlineMs, revokeAfterMs, acceptWithinMs, everyMs, given } = read()
    assert.deepEqual(
      { verb, quietMs, deadlineMs, revokeAfterMs, acceptWithinMs, everyMs, given: given.size },
      {
        verb: 'run',
        quietMs: 86_400_000,
        deadlineMs: 30 * 86_400_000,
        revokeAfterMs: 86_400_000,
        acceptWithinMs: 300_000,
        everyMs: undefined,
        given: 0,
      },
    )
  })

  test('places are made absolute, and none comes twice', () => {
    const args = ['file:a#X', 'exec:./push', 'vault:secret/a', 'file:a#X', 'file:/b/{holder}']
    assert.deepEqual(read(...args.flatMap((place) => ['--deliver', place])).deliver, [
      ...['file:/work/a#X', 'exec:/work/push', 'vault:secret/a', 'file:/b/{holder}'],
    ])
    assert.equal(read('--truth', 'file:tokens.json').truth, 'file:/work/tokens.json')
  })

  test('the name of a holder cannot leave its place', () => {
    const [place = ''] = placesOf(['file:/b/{holder}.token'], '../../etc/passwd')
    assert.match(place, /^file:\/b\/[a-z0-9-]+\.token$/)
  })

  test('two holders are not given one place', () => {
    assert.throws(() => assertPlacesApart(['file:/a'], ['x', 'y']), /write \{holder\} where/)
    assertPlacesApart(['file:/a'], ['x'])
    assertPlacesApart(['file:/a/{holder}', 'exec:/push'], ['x', 'y'])
  })

  test('gateways', () => {
    const { gateways } = read('--gateway', 'http://10.0.0.5:9464/', '--gateway', 'local')
    assert.deepEqual(gateways, ['http://10.0.0.5:9464', 'local'])
  })

  test('no deadline', () => {
    assert.equal(read('--deadline', 'none').deadlineMs, undefined)
  })

  for (const [argv, words] of [
    ['status --force', /--force: unknown option/],
    ['abort --force --keep', /exclude each other/],
    ['--all --holder x', /exclude each other/],
    ['--wait --dry-run', /exclude each other/],
    ['--evry 30d', /--evry: unknown option; did you mean --every\?/],
    ['--every monthly', /--every "monthly": expected a duration with its unit/],
    ['--quiet 0s', /--quiet "0s": expected .* from 1s/],
    ['--deadline 24h', /--deadline is not longer than --quiet/],
    ['--gateway 10.0.0.5:9464', /--gateway "10\.0\.0\.5:9464": expected the URL of an admin port/],
    ['--gateway http://me:secret@host', /^--gateway: expected the URL of an admin port/],
    ['--deliver s3:x', /--deliver "s3:x": expected a place/],
    ['--deliver', /--deliver/],
    ['--holder x y', /Unexpected argument/],
    ['histroy', /unknown command "histroy"; did you mean history\?/],
  ] satisfies [string, RegExp][])
    test(`${argv} is told of`, () => {
      assert.throws(() => read(...argv.split(' ')), { message: words })
    })
})
