import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { SetCache } from '../../../src/secrets/set-cache.ts'

const PLACE = 'vault:secret/otel/tokens'

let dir: string
let cache: SetCache

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'set-cache-'))
  cache = new SetCache(dir, PLACE)
})

afterEach(() => rm(dir, { recursive: true, force: true }))

describe('what is kept of a place', () => {
  it('is nothing at first', async () => {
    assert.equal(await cache.read(), undefined)
  })

  it('is read again, with the time it was true', async () => {
    const beforeMs = Date.now() - 1000
    await cache.keep(['one', 'two'])
    const found = await new SetCache(dir, PLACE).read()
    assert.deepEqual(found?.texts, ['one', 'two'])
    assert.ok(found.readMs >= beforeMs && found.readMs <= Date.now() + 1000)
  })

  it('is for its owner alone, and leaves nothing else behind', async () => {
    await cache.keep(['one'])
    await cache.keep(['two'])
    assert.equal((await stat(cache.path)).mode & 0o777, 0o600)
    assert.equal((await stat(dirname(cache.path))).mode & 0o777, 0o700)
    assert.equal((await readdir(dirname(cache.path))).length, 1)
  })

  it('is confirmed without being written', async () => {
    await cache.keep(['one'])
    const text = await readFile(cache.path, 'utf8')
    await utimes(cache.path, 1000, 1000)
    assert.equal((await cache.read())?.readMs, 1_000_000)
    await cache.confirm()
    assert.ok(((await cache.read())?.readMs ?? 0) > Date.now() - 60_000)
    assert.equal(await readFile(cache.path, 'utf8'), text)
  })

  it('is the last of several that are kept at once', async () => {
    const texts = Array.from({ length: 20 }, (_, index) => `text ${index}`)
    await Promise.all(texts.map((text) => cache.keep([text])))
    await cache.close()
    assert.deepEqual((await cache.read())?.texts, ['text 19'])
  })

  it('is its own for each place', async () => {
    const other = new SetCache(dir, 'aws:otel/tokens')
    await cache.keep(['one'])
    await other.keep(['two'])
    assert.notEqual(other.path, cache.path)
    assert.deepEqual((await cache.read())?.texts, ['one'])
  })

  it('fails in words where it cannot be written, or was removed', async () => {
    await writeFile(join(dir, 'sets'), '')
    await assert.rejects(cache.keep(['one']), /cannot write .*part of the path is a file/)
    await rm(join(dir, 'sets'))
    await assert.rejects(cache.confirm(), /cannot write .*no such file/)
    await cache.keep(['one'])
    assert.deepEqual((await cache.read())?.texts, ['one'], 'the next one is written all the same')
  })

  for (const [name, text, words] of [
    ['that is cut off', '{"version":1,"pla', /is not JSON/],
    ['that is empty', '', /is not JSON/],
    ['that is no object', 'null', /is no object/],
    ['of another version', `{"version":2,"place":"${PLACE}","texts":[]}`, /another version/],
    ['of another place', '{"version":1,"place":"vault:x/y","texts":[]}', /another place/],
    ['without texts', `{"version":1,"place":"${PLACE}","texts":[1]}`, /has no texts/],
  ] as const)
    it(`is not read from a file ${name}`, async () => {
      await mkdir(dirname(cache.path))
      await writeFile(cache.path, text)
      await assert.rejects(cache.read(), words)
    })

  it('is not read from what is no file', async () => {
    await mkdir(cache.path, { recursive: true })
    await assert.rejects(cache.read(), /is no file of sets|is a directory/)
  })
})
