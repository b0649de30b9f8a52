import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { PolledSource, pauseMs } from '../../../src/secrets/polled-source.ts'
import { SourceFault } from '../../../src/secrets/source-fault.ts'
import type { TokenFileEvent } from '../../../src/secrets/token-file.ts'
import type { Version } from '../../../src/secrets/truth.ts'

const POLL_MS = 30_000
const TIMEOUT_MS = 10_000

/** A read of the source that the test has yet to answer. */
interface Asked {
  readonly signal: AbortSignal | undefined
  answer(...texts: string[]): void
  fail(error: Error): void
}

let asked: Asked[]
let inForce: string[]
let events: TokenFileEvent[]
let isClosed: boolean
let polled: PolledSource<string>

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout'] })
  asked = []
  inForce = []
  events = []
  isClosed = false
  polled = new PolledSource<string>({
    source: {
      place: 'vault:secret/tokens',
      read: (signal) => {
        const { promise, resolve, reject } = Promise.withResolvers<readonly Version[]>()
        const answer = (...texts: string[]) =>
          resolve(texts.map((text, index) => ({ text, version: String(index) })))
        asked.push({ signal, answer, fail: reject })
        return promise
      },
      close: async () => {
        isClosed = true
      },
    },
    parse: (versions) => {
      const text = versions.map(({ text }) => text).join(' and ')
      if (text.includes('nonsense')) throw new Error('is not JSON')
      return text
    },
    swap: (content) => inForce.push(content),
    onEvent: (event) => events.push(event),
    pollMs: POLL_MS,
    timeoutMs: TIMEOUT_MS,
    random: () => 0.5,
  })
})

afterEach(async () => {
  await polled.close()
  mock.timers.reset()
})

/** Lets time pass, and everything that follows from it happen. */
async function pass(ms: number): Promise<void> {
  mock.timers.tick(ms)
  for (let turns = 0; turns < 3; turns += 1) await turn()
}

const last = (): Asked => {
  const found = asked.at(-1)
  assert.ok(found !== undefined)
  return found
}

async function read(settle: (asked: Asked) => void) {
  const reading = polled.reload()
  settle(last())
  return await reading
}

const fault = (isTemporary: boolean) =>
  new SourceFault('vault:secret/tokens', 'it is sealed', 'unseal it', { isTemporary })

describe('a source that is polled', () => {
  it('is read at once, and again after each interval', async () => {
    assert.deepEqual(await read((one) => one.answer('a')), { kind: 'loaded', count: 1 })
    await pass(POLL_MS - 1)
    assert.equal(asked.length, 1)
    await pass(1)
    assert.equal(asked.length, 2)
    last().answer('b', 'c')
    await pass(0)
    assert.deepEqual(inForce, ['a', 'b and c'])
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['loaded', 'loaded'],
    )
  })

  it('changes nothing where it says what it said before, and says when that was', async () => {
    assert.equal(polled.lastGoodMs, undefined)
    await read((one) => one.answer('a'))
    const beforeMs = Date.now()
    assert.deepEqual(await read((one) => one.answer('a')), { kind: 'unchanged' })
    assert.ok((polled.lastGoodMs ?? 0) >= beforeMs)
    assert.deepEqual(inForce, ['a'])
  })

  it('is asked once by all who want it at the same time', async () => {
    const readings = [polled.reload(), polled.reload(), polled.reload()]
    assert.equal(asked.length, 1)
    last().answer('a')
    await Promise.all(readings)
    assert.deepEqual(inForce, ['a'])
  })

  it('leaves in force what was when it fails, and tells each problem once', async () => {
    await read((one) => one.answer('a'))
    for (let times = 0; times < 3; times += 1) await read((one) => one.fail(fault(true)))
    await read((one) => one.answer('nonsense'))
    assert.equal(polled.problem, 'is not JSON')
    await read((one) => one.fail(fault(true)))
    assert.deepEqual(events.slice(1), [
      { kind: 'kept_last_good', problem: 'vault:secret/tokens: it is sealed; unseal it' },
      { kind: 'kept_last_good', problem: 'is not JSON' },
    ])
    assert.deepEqual(inForce, ['a'])
    // The very content that is in force: nothing to swap, but the trouble is over.
    assert.deepEqual(await read((one) => one.answer('a')), { kind: 'loaded', count: 1 })
    assert.equal(polled.problem, undefined)
    assert.deepEqual(inForce, ['a'])
    await read((one) => one.fail(fault(true)))
    assert.equal(events.length, 5, 'after a good read it is news again')
  })

  it('is given up when it does not answer, and not asked twice at the same time', async () => {
    const reading = polled.reload()
    await pass(TIMEOUT_MS)
    const problem =
      'vault:secret/tokens: did not answer within 10 s; look whether it runs and can be reached from here'
    assert.deepEqual(await reading, { kind: 'kept_last_good', problem })
    assert.equal(last().signal?.aborted, true)
    const again = polled.reload()
    assert.equal(asked.length, 1, 'the first read has not ended')
    await pass(TIMEOUT_MS)
    assert.deepEqual(await again, { kind: 'kept_last_good', problem })
    last().answer('too late')
    await pass(0)
    assert.deepEqual(inForce, [])
    await read((one) => one.answer('b'))
    assert.equal(asked.length, 2)
    assert.deepEqual(inForce, ['b'])
  })

  it('is read soon again after a fault that may pass, then less and less often', async () => {
    await read((one) => one.fail(fault(true)))
    await pass(999)
    assert.equal(asked.length, 1)
    await pass(1)
    assert.equal(asked.length, 2)
    last().fail(fault(true))
    await pass(0)
    await pass(1999)
    assert.equal(asked.length, 2)
    await pass(1)
    assert.equal(asked.length, 3)
  })

  it('is not read again after close, which ends a read under way', async () => {
    const reading = polled.reload()
    await polled.close()
    assert.deepEqual(await reading, { kind: 'unchanged' })
    assert.equal(last().signal?.aborted, true)
    assert.equal(isClosed, true)
    assert.deepEqual(await polled.reload(), { kind: 'unchanged' })
    await pass(POLL_MS * 10)
    assert.equal(asked.length, 1)
    assert.deepEqual(events, [])
  })

  it('is given up as well when it fails before it has begun', async () => {
    const broken = new PolledSource<string>({
      source: {
        place: 'aws:tokens',
        read: () => {
          throw fault(false)
        },
        close: async () => {},
      },
      parse: () => '',
      swap: () => 0,
      pollMs: POLL_MS,
    })
    assert.equal((await broken.reload()).kind, 'kept_last_good')
    await broken.close()
  })
})

describe('the pause before the next read', () => {
  it('is the interval, give or take a fifth', () => {
    assert.equal(pauseMs(30_000, 0, false, 0), 24_000)
    assert.equal(pauseMs(30_000, 0, true, 0.5), 30_000)
    assert.equal(pauseMs(30_000, 0, false, 1), 36_000)
  })

  it('begins with the interval where a fault will not pass by itself', () => {
    assert.equal(pauseMs(30_000, 1, false, 0.5), 30_000)
    assert.equal(pauseMs(30_000, 2, false, 0.5), 60_000)
  })

  it('is never longer than five minutes or four intervals', () => {
    for (const pollMs of [1000, 30_000, 3_600_000])
      for (const isTemporary of [true, false])
        for (const faults of [1, 2, 10, 100, 10_000]) {
          const pause = pauseMs(pollMs, faults, isTemporary, 1)
          assert.ok(pause > 0 && pause <= Math.min(300_000, 4 * pollMs), `${pollMs} ${faults}`)
        }
  })
})
