import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  appendFile,
  link,
  mkdir,
  mkdtemp,
  open,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { TokenFile, type TokenFileEvent } from '../../../src/secrets/token-file.ts'
import { digestOf } from '../../../src/stores/token-secret.ts'
import { parseTokenSet, type TokenSet } from '../../../src/stores/token-set.ts'

/** So slow that only events can have told of a change. */
const NEVER_MS = 3_600_000

let dir: string
let path: string
let file: TokenFile<TokenSet> | undefined
let inForce: string[]
let swaps: string[][]
let events: TokenFileEvent[]

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'token-file-'))
  path = join(dir, 'tokens.json')
  inForce = []
  swaps = []
  events = []
})

afterEach(async () => {
  file?.close()
  file = undefined
  await rm(dir, { recursive: true, force: true })
})

/** The text of a set with these ids. */
const textOf = (...ids: string[]) =>
  JSON.stringify({ tokens: ids.map((id) => ({ id, holder: 'h', sha256: digestOf(id) })) })

function watched(options: { path?: string; pollMs?: number; maxBytes?: number } = {}) {
  file = new TokenFile<TokenSet>({
    path,
    parse: parseTokenSet,
    swap: ({ records }) => {
      inForce = records.map(({ id }) => id)
      swaps.push(inForce)
      return records.length
    },
    onEvent: (event) => events.push(event),
    debounceMs: 10,
    pollMs: NEVER_MS,
    ...options,
  })
  return file
}

/** Waits for what the file tells, and fails when it has not come after a long time. */
async function until(isSo: () => boolean): Promise<void> {
  const signal = AbortSignal.timeout(30_000)
  while (!isSo()) await sleep(5, undefined, { signal })
}

const isInForce = (...ids: string[]) =>
  until(() => inForce.length === ids.length && ids.every((id, index) => inForce[index] === id))

const problems = () =>
  events.flatMap((event) => (event.kind === 'kept_last_good' ? [event.problem] : []))

describe('the start of a token file', () => {
  it('puts the set in force', async () => {
    await writeFile(path, textOf('a', 'b'))
    await watched().start()
    assert.deepEqual(inForce, ['a', 'b'])
    assert.deepEqual(events, [{ kind: 'loaded', count: 2 }])
    assert.equal(file?.problem, undefined)
  })

  const bad: readonly (readonly [string, string | Uint8Array | undefined, RegExp])[] = [
    ['a file that is not there', undefined, /^cannot read .*tokens\.json: no such file/],
    ['an empty file', '', /tokens\.json: is empty/],
    ['an empty set', '{"tokens":[]}', /tokens: is empty; expected at least one token/],
    ['half a file', textOf('a').slice(0, 40), /is not JSON/],
    ['bytes that are no text', Uint8Array.of(0xff, 0xfe, 0), /is not UTF-8 text/],
  ]
  for (const [name, content, message] of bad)
    it(`fails in words with ${name}`, async () => {
      if (content !== undefined) await writeFile(path, content)
      await assert.rejects(watched().start(), { message })
      assert.deepEqual(swaps, [])
      assert.deepEqual(events, [])
    })

  it('fails with a directory, a pipe and a file too large, and does not wait', async () => {
    await assert.rejects(watched({ path: dir }).start(), /is a directory|is not a regular file/)
    const pipe = join(dir, 'pipe')
    assert.equal(spawnSync('mkfifo', [pipe]).status, 0)
    await assert.rejects(watched({ path: pipe }).start(), /is not a regular file/)
    await writeFile(path, textOf('a'))
    await assert.rejects(watched({ maxBytes: 10 }).start(), /is larger than 10 bytes/)
  })
})

describe('a change of the token file', () => {
  it('is taken up when the file is replaced', async () => {
    await writeFile(path, textOf('a'))
    await watched().start()
    for (const id of ['b', 'c', 'd']) {
      await writeFile(`${path}.new`, textOf(id))
      await rename(`${path}.new`, path)
      await isInForce(id)
    }
    assert.deepEqual(swaps, [['a'], ['b'], ['c'], ['d']])
  })

  it('is taken up when the file is written in place', async () => {
    await writeFile(path, textOf('a'))
    await watched().start()
    await writeFile(path, textOf('b'))
    await isInForce('b')
    assert.deepEqual(swaps, [['a'], ['b']])
  })

  it('is taken up when the file is written in place under another name', async () => {
    // As with a file that is mounted by itself: its directory here hears nothing of the write.
    await writeFile(path, textOf('a'))
    await mkdir(join(dir, 'outside'))
    const outside = join(dir, 'outside', 'set.json')
    await link(path, outside)
    await watched().start()
    for (const id of ['b', 'c']) {
      await writeFile(outside, textOf(id))
      await isInForce(id)
    }
    // The watch moves to a new file in the old one's place.
    await writeFile(`${path}.new`, textOf('d'))
    await rm(outside)
    await link(`${path}.new`, outside)
    await rename(`${path}.new`, path)
    await isInForce('d')
    await writeFile(outside, textOf('e'))
    await isInForce('e')
  })

  it('is taken up when a mounted volume is switched, again and again', async () => {
    // As the kubelet does: tokens.json → ..data/tokens.json, ..data → a directory per version.
    const publish = async (version: string) => {
      await mkdir(join(dir, `..${version}`))
      await writeFile(join(dir, `..${version}`, 'tokens.json'), textOf(version))
      await symlink(`..${version}`, join(dir, '..data_tmp'))
      await rename(join(dir, '..data_tmp'), join(dir, '..data'))
    }
    await publish('v1')
    await symlink(join('..data', 'tokens.json'), path)
    await watched().start()
    for (const version of ['v2', 'v3', 'v4']) {
      await publish(version)
      await isInForce(version)
    }
    assert.deepEqual(problems(), [])
    await rm(join(dir, '..v1'), { recursive: true })
    // The watch has moved along: what is written in the newest directory is seen.
    await writeFile(join(dir, '..v4', 'tokens.json'), textOf('late'))
    await isInForce('late')
  })

  it('is taken up behind a symlink to another directory, and after it points elsewhere', async () => {
    const [one, two] = [join(dir, 'one'), join(dir, 'two')]
    await mkdir(one)
    await mkdir(two)
    await writeFile(join(one, 'set.json'), textOf('a'))
    await writeFile(join(two, 'set.json'), textOf('b'))
    await symlink(join(one, 'set.json'), path)
    await watched().start()
    await writeFile(join(one, 'set.json'), textOf('a2'))
    await isInForce('a2')
    await symlink(join(two, 'set.json'), `${path}.new`)
    await rename(`${path}.new`, path)
    await isInForce('b')
    await writeFile(join(two, 'set.json'), textOf('b2'))
    await isInForce('b2')
  })

  it('is found by looking where no event tells of it', async () => {
    // Nobody watches above the file's directory, so a switch of that goes untold.
    for (const id of ['one', 'two']) {
      await mkdir(join(dir, id))
      await writeFile(join(dir, id, 'tokens.json'), textOf(id))
    }
    await symlink('one', join(dir, 'current'))
    await watched({ path: join(dir, 'current', 'tokens.json'), pollMs: 20 }).start()
    assert.deepEqual(inForce, ['one'])
    await symlink('two', join(dir, 'next'))
    await rename(join(dir, 'next'), join(dir, 'current'))
    await isInForce('two')
    await writeFile(join(dir, 'two', 'tokens.json'), textOf('later'))
    await isInForce('later')
  })

  it('is found after the whole directory was gone for a while', async () => {
    const inner = join(dir, 'inner')
    await mkdir(inner)
    path = join(inner, 'tokens.json')
    await writeFile(path, textOf('a'))
    await watched({ path, pollMs: 20 }).start()
    await rm(inner, { recursive: true })
    await until(() => problems().length > 0)
    assert.deepEqual(inForce, ['a'])
    await mkdir(inner)
    await writeFile(path, textOf('b'))
    await isInForce('b')
    assert.equal(file?.problem, undefined)
  })

  it('is not looked for after close', async () => {
    await writeFile(path, textOf('a'))
    await watched({ pollMs: 5 }).start()
    file?.close()
    await writeFile(path, textOf('b'))
    assert.deepEqual(await file?.reload(), { kind: 'unchanged' })
    assert.deepEqual(swaps, [['a']])
  })
})

describe('a bad read', () => {
  it('of a file written in two halves keeps the last good set until the second half', async () => {
    await writeFile(path, textOf('a'))
    await watched().start()
    const text = textOf('b', 'c')
    const half = await open(path, 'w')
    const emptied = await file?.reload()
    assert.equal(emptied?.kind, 'kept_last_good')
    await half.write(text.slice(0, 60))
    const halved = await file?.reload()
    assert.equal(halved?.kind, 'kept_last_good')
    assert.deepEqual(inForce, ['a'])
    await half.write(text.slice(60))
    await half.close()
    await isInForce('b', 'c')
    assert.deepEqual(swaps, [['a'], ['b', 'c']])
  })

  it('never puts a mixture in force while the file is rewritten over and over', async () => {
    const [one, two] = [textOf('a', 'b', 'c'), textOf('d')]
    await writeFile(path, one)
    await watched().start()
    const writes = (async () => {
      for (let round = 0; round < 100; round += 1) {
        const text = round % 2 === 0 ? two : one
        const handle = await open(path, 'w')
        for (let at = 0; at < text.length; at += 50) await handle.write(text.slice(at, at + 50))
        await handle.close()
      }
    })()
    for (let round = 0; round < 30; round += 1) await file?.reload()
    await writes
    await writeFile(path, textOf('last'))
    await isInForce('last')
    for (const ids of swaps)
      assert.ok(['a,b,c', 'd', 'last'].includes(ids.join()), `in force: ${ids.join()}`)
  })

  it('is told once a problem, and the next good read is told too', async () => {
    await writeFile(path, textOf('a'))
    await watched().start()
    await writeFile(path, '')
    await until(() => problems().length === 1)
    await file?.reload()
    await file?.reload()
    assert.match(file?.problem ?? '', /is empty/)
    await writeFile(path, '{"tokens":[]}')
    await until(() => problems().length === 2)
    await rm(path)
    await until(() => problems().length === 3)
    await writeFile(path, '')
    assert.equal((await file?.reload())?.kind, 'kept_last_good')
    assert.equal(problems().length, 3)
    assert.deepEqual(inForce, ['a'])

    // The very bytes that are in force: nothing to swap, but the trouble is over.
    await writeFile(path, textOf('a'))
    await until(() => events.at(-1)?.kind === 'loaded')
    assert.deepEqual(swaps, [['a']])
    assert.equal(file?.problem, undefined)
    await writeFile(path, '')
    await until(() => problems().length === 4)
  })

  it('is also one whose set is refused when it is put in force', async () => {
    await writeFile(path, textOf('a'))
    let isRefused = false
    const refusing = new TokenFile<string>({
      path,
      parse: (text) => text,
      swap: () => {
        if (isRefused) throw new Error('no, thank you')
        return 1
      },
      debounceMs: 10,
      pollMs: NEVER_MS,
    })
    await refusing.start()
    isRefused = true
    await appendFile(path, ' ')
    const event = await refusing.reload()
    refusing.close()
    assert.deepEqual(event, { kind: 'kept_last_good', problem: 'no, thank you' })
  })
})

describe('reload, as on SIGHUP', () => {
  it('reads at once and says what became of it', async () => {
    await writeFile(path, textOf('a'))
    await watched().start()
    assert.deepEqual(await file?.reload(), { kind: 'unchanged' })
    await writeFile(path, textOf('b', 'c'))
    const answer = await file?.reload()
    assert.deepEqual(inForce, ['b', 'c'])
    assert.deepEqual(answer, { kind: 'loaded', count: 2 })
    await rm(path)
    const gone = await file?.reload()
    assert.equal(gone?.kind, 'kept_last_good')
    assert.match(gone?.kind === 'kept_last_good' ? gone.problem : '', /no such file/)
    assert.deepEqual(inForce, ['b', 'c'])
  })

  it('may be asked for many times at once', async () => {
    await writeFile(path, textOf('a'))
    await watched().start()
    await writeFile(path, textOf('b'))
    await Promise.all(Array.from({ length: 20 }, () => file?.reload()))
    assert.deepEqual(swaps, [['a'], ['b']])
  })
})
