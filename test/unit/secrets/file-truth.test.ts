import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { FileTruth } from '../../../src/secrets/file-truth.ts'
import { openSource } from '../../../src/secrets/open-source.ts'
import { openTruth } from '../../../src/secrets/open-truth.ts'
import { type Place, parsePlace } from '../../../src/secrets/place.ts'

let dir: string
let path: string
let truth: FileTruth

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'file-truth-'))
  path = join(dir, 'tokens.json')
  truth = new FileTruth(path)
})

afterEach(() => rm(dir, { recursive: true, force: true }))

describe('a token file as the source of truth', () => {
  it('is empty where there is no file, and the first write makes it', async () => {
    const { text, version } = await truth.readCurrent()
    assert.equal(text, undefined)
    assert.equal(await truth.write('first', version), true)
    assert.equal(await readFile(path, 'utf8'), 'first')
  })

  it('is replaced where nobody wrote in between', async () => {
    await writeFile(path, 'old')
    const { text, version } = await truth.readCurrent()
    assert.equal(text, 'old')
    assert.equal(await truth.write('new', version), true)
    assert.deepEqual(
      (await truth.read()).map((read) => read.text),
      ['new'],
    )
  })

  it('is left alone where somebody did', async () => {
    await writeFile(path, 'old')
    const { version } = await truth.readCurrent()
    await writeFile(path, 'by another')
    assert.equal(await truth.write('new', version), false)
    assert.equal(await readFile(path, 'utf8'), 'by another')
  })

  it('is left alone where somebody made the file, or removed it', async () => {
    const { version } = await truth.readCurrent()
    await writeFile(path, '')
    assert.equal(await truth.write('new', version), false)
    const empty = await truth.readCurrent()
    await rm(path)
    assert.equal(await truth.write('new', empty.version), false)
  })

  it('lets one of many writers win', async () => {
    await writeFile(path, 'old')
    const { version } = await truth.readCurrent()
    const names = ['a', 'b', 'c', 'd', 'e']
    const wins = await Promise.all(names.map((name) => truth.write(name, version)))
    assert.equal(wins.filter((hasWon) => hasWon).length, 1)
    assert.equal(await readFile(path, 'utf8'), names[wins.indexOf(true)])
  })

  it('says what is wrong with the file', async () => {
    await assert.rejects(new FileTruth(dir).readCurrent(), /is not a regular file|is a directory/)
  })
})

describe('a place', () => {
  const settings = { vault: undefined, awsPreviousMs: 1000 }
  const placeOf = (text: string): Place => {
    const place = parsePlace(text)
    assert.ok(place !== undefined)
    return place
  }

  it('of the kind file is read and written', async () => {
    const place = placeOf(`file:${path}`)
    const opened = await openTruth(place, settings)
    assert.equal(opened.place, place.text)
    assert.equal(await opened.write('set', (await opened.readCurrent()).version), true)
    const source = await openSource(place, settings)
    assert.deepEqual(
      (await source.read()).map(({ text }) => text),
      ['set'],
    )
  })

  it('that holds no sets is refused in words', async () => {
    const message =
      'exec:./script: token sets cannot come from there; expected one of file:, vault:, aws:'
    await assert.rejects(openSource(placeOf('exec:./script'), settings), { message })
    await assert.rejects(openTruth(placeOf('exec:./script'), settings), { message })
  })
})
