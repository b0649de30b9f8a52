import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { peerFromAddress } from '../../../src/edge/peer.ts'
import type { Peer } from '../../../src/pipeline/arrival.ts'
import type { Token } from '../../../src/pipeline/ports.ts'
import { type Ban, Bans, type BansOptions } from '../../../src/stores/bans.ts'
import { createExempt } from '../../../src/stores/exempt.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

function peerAt(address: string): Peer {
  const peer = peerFromAddress(address)
  if (peer === undefined) throw new TypeError(`${address} is not an address`)
  return peer
}

const attacker = peerAt('203.0.113.7')
const stranger = peerAt('203.0.113.8')

function token(id: string): Token {
  const limits = { requests: undefined, bytes: undefined, inFlight: undefined }
  return { id, holder: id, scopes: undefined, limits }
}

const agent = token('agent')
const second = token('second')

function createBans(options: Partial<BansOptions> = {}): Bans {
  return new Bans({
    strikes: 5,
    windowMs: MINUTE_MS,
    banMs: HOUR_MS,
    exempt: createExempt(['loopback', 'private']),
    peerOf: peerFromAddress,
    ...options,
  })
}

function strike(bans: Bans, peer: Peer, count: number, nowMs: number): void {
  for (let at = 0; at < count; at += 1) bans.strike(peer, nowMs)
}

describe('strikes', () => {
  it('ban with the fifth within a minute, for an hour', () => {
    const bans = createBans()
    strike(bans, attacker, 4, 0)
    assert.equal(bans.isBanned(attacker, 0), false)
    bans.strike(attacker, MINUTE_MS - 1)
    assert.equal(bans.isBanned(attacker, MINUTE_MS - 1), true)
    assert.equal(bans.remainingMs(attacker, MINUTE_MS - 1), HOUR_MS)
    assert.equal(bans.isBanned(attacker, MINUTE_MS - 1 + HOUR_MS - 1), true)
    assert.equal(bans.isBanned(attacker, MINUTE_MS - 1 + HOUR_MS), false)
    assert.equal(bans.remainingMs(attacker, MINUTE_MS - 1 + HOUR_MS), 0)
  })

  it('are forgotten after the window, each by itself', () => {
    const bans = createBans()
    strike(bans, attacker, 4, 0)
    bans.strike(attacker, MINUTE_MS)
    assert.equal(bans.isBanned(attacker, MINUTE_MS), false)
    strike(bans, attacker, 3, MINUTE_MS + 1)
    assert.equal(bans.isBanned(attacker, MINUTE_MS + 1), false)
    bans.strike(attacker, MINUTE_MS + 2)
    assert.equal(bans.isBanned(attacker, MINUTE_MS + 2), true)
  })

  it('count one address, or one /64 of IPv6', () => {
    const bans = createBans()
    for (let at = 1; at <= 5; at += 1) bans.strike(peerAt(`203.0.113.${at}`), 0)
    assert.deepEqual(bans.list(0), [])
    for (let at = 1; at <= 5; at += 1) bans.strike(peerAt(`2001:db8:1:2::${at}`), 0)
    assert.deepEqual(
      bans.list(0).map(({ peerKey }) => peerKey),
      ['2001:db8:1:2::/64'],
    )
    assert.equal(bans.isBanned(peerAt('2001:db8:1:2:ffff::1'), 0), true)
    assert.equal(bans.isBanned(peerAt('2001:db8:1:3::1'), 0), false)
  })

  it('during a ban do not prolong it, and the next ban needs five new ones', () => {
    const bans = createBans()
    strike(bans, attacker, 20, 0)
    assert.equal(bans.remainingMs(attacker, 0), HOUR_MS)
    strike(bans, attacker, 20, HOUR_MS - 1)
    assert.equal(bans.isBanned(attacker, HOUR_MS), false)
    strike(bans, attacker, 4, HOUR_MS)
    assert.equal(bans.isBanned(attacker, HOUR_MS), false)
  })

  it('never ban when they are off', () => {
    const bans = createBans({ strikes: undefined })
    strike(bans, attacker, 1000, 0)
    assert.equal(bans.isBanned(attacker, 0), false)
  })

  it('never ban a peer that is exempt', () => {
    const bans = createBans()
    for (const address of ['127.0.0.1', '::1', '10.1.2.3', 'fd00::1', '::ffff:192.168.1.1']) {
      strike(bans, peerAt(address), 10, 0)
    }
    assert.deepEqual(bans.list(0), [])
  })

  it('lead to exactly the ban that counting by hand leads to', () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 30_000 }), { maxLength: 40 })
    fc.assert(
      fc.property(gaps, fc.integer({ min: 1, max: 6 }), (pauses, strikes) => {
        const bans = createBans({ strikes, banMs: 1e12 })
        const times: number[] = []
        let nowMs = 0
        for (const pause of pauses) {
          nowMs += pause
          const wasBanned = bans.isBanned(attacker, nowMs)
          times.push(nowMs)
          bans.strike(attacker, nowMs)
          const within = times.filter((time) => time + MINUTE_MS > nowMs).length
          assert.equal(bans.isBanned(attacker, nowMs), wasBanned || within >= strikes)
        }
      }),
    )
  })
})

describe('bans', () => {
  it('double for a peer that comes back, up to 30 days', () => {
    const bans = createBans()
    let nowMs = 0
    const lengths: number[] = []
    for (let time = 0; time < 12; time += 1) {
      strike(bans, attacker, 5, nowMs)
      const lengthMs = bans.remainingMs(attacker, nowMs)
      lengths.push(lengthMs / HOUR_MS)
      nowMs += lengthMs
    }
    assert.deepEqual(lengths, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 720, 720])
  })

  it('start afresh after a week without one', () => {
    const bans = createBans()
    strike(bans, attacker, 5, 0)
    strike(bans, attacker, 5, HOUR_MS + 7 * DAY_MS)
    assert.equal(bans.remainingMs(attacker, HOUR_MS + 7 * DAY_MS), HOUR_MS)
    const again = createBans()
    strike(again, attacker, 5, 0)
    strike(again, attacker, 5, HOUR_MS + 7 * DAY_MS - 1)
    assert.equal(again.remainingMs(attacker, HOUR_MS + 7 * DAY_MS - 1), 2 * HOUR_MS)
  })

  it('are told once when they begin', () => {
    const told: Ban[] = []
    const bans = createBans({ onBan: (ban) => told.push(ban) })
    strike(bans, attacker, 20, 0)
    assert.deepEqual(told, [
      {
        peerKey: '203.0.113.7',
        address: '203.0.113.7',
        remainingMs: HOUR_MS,
        lengthMs: HOUR_MS,
        repeats: 0,
        isManual: false,
      },
    ])
  })

  it('stay within the bound of the table under strikes from a million addresses', () => {
    const bans = createBans({ strikes: 1, maxKeys: 1000 })
    for (let at = 0; at < 1_000_000; at += 1) {
      const key = `2001:db8:${(at >> 16).toString(16)}:${(at & 0xffff).toString(16)}::/64`
      bans.strike({ key, address: '2001:db8::1' }, 0)
    }
    assert.deepEqual(
      bans.tables().map(({ table, size }) => [table, size]),
      [
        ['bans', 1000],
        ['strikes', 0],
        ['vouched', 0],
      ],
    )
    assert.equal(bans.list(0).length, 1000)
  })

  it('stay within the bound of the table of strikes', () => {
    const bans = createBans({ maxKeys: 1000 })
    for (let at = 0; at < 100_000; at += 1) {
      bans.strike({ key: `${at}`, address: '203.0.113.1' }, 0)
    }
    const strikes = bans.tables().find(({ table }) => table === 'strikes')
    assert.deepEqual(strikes, { table: 'strikes', size: 1000, evictions: 99_000 })
  })
})

describe('strikes that a ban takes very many of', () => {
  it('are watched for fewer peers, so that their times fit into memory', () => {
    const bans = createBans({ strikes: 1_000_000 })
    for (let at = 0; at < 100; at += 1) bans.strike({ key: `${at}`, address: '203.0.113.1' }, 0)
    assert.equal(bans.tables().find(({ table }) => table === 'strikes')?.size, 4)
  })
})

describe('a token that was used from a banned address', () => {
  it('is vouched for there, another one and other addresses are not', () => {
    const bans = createBans()
    bans.vouch(attacker, agent, 0)
    strike(bans, attacker, 5, 0)
    assert.equal(bans.isVouched(attacker, agent, 0), true)
    assert.equal(bans.isVouched(attacker, second, 0), false)
    assert.equal(bans.isVouched(stranger, agent, 0), false)
  })

  it('keeps the door open at accept', () => {
    const bans = createBans()
    strike(bans, attacker, 5, 0)
    strike(bans, stranger, 5, 0)
    bans.vouch(stranger, agent, 0)
    assert.equal(bans.isShut(attacker, 0), true)
    assert.equal(bans.isShut(stranger, 0), false)
    assert.equal(bans.isBanned(stranger, 0), true)
    assert.equal(bans.isShut(attacker, HOUR_MS), false)
  })

  it('is forgotten a week after its last use', () => {
    const bans = createBans()
    bans.vouch(attacker, agent, 0)
    bans.vouch(attacker, agent, DAY_MS)
    assert.equal(bans.isVouched(attacker, agent, 8 * DAY_MS - 1), true)
    assert.equal(bans.isVouched(attacker, agent, 8 * DAY_MS), false)
    bans.add('203.0.113.7', undefined, 8 * DAY_MS)
    assert.equal(bans.isShut(attacker, 8 * DAY_MS), true)
  })

  it('does not open a ban that was set by hand', () => {
    const bans = createBans()
    bans.vouch(attacker, agent, 0)
    bans.add(attacker.address, undefined, 0)
    assert.equal(bans.isVouched(attacker, agent, 0), false)
    assert.equal(bans.isShut(attacker, 0), true)
  })

  it('is one of at most a thousand from one address', () => {
    const bans = createBans()
    for (let at = 0; at < 1500; at += 1) bans.vouch(attacker, token(`t${at}`), at)
    assert.equal(bans.snapshot(1500).vouched.length, 1000)
    assert.equal(bans.isVouched(attacker, token('t499'), 1500), false)
    assert.equal(bans.isVouched(attacker, token('t500'), 1500), true)
  })
})

describe('bans set by hand', () => {
  it('hold for the time given, and for exempt addresses too', () => {
    const bans = createBans()
    const ban = bans.add('127.0.0.1', 5000, 100)
    assert.equal(ban?.remainingMs, 5000)
    assert.equal(ban?.isManual, true)
    assert.equal(bans.isBanned(peerAt('127.0.0.1'), 5099), true)
    assert.equal(bans.isBanned(peerAt('127.0.0.1'), 5100), false)
  })

  it('understand every way to write an address', () => {
    for (const [text, key] of [
      ['203.0.113.9', '203.0.113.9'],
      ['::ffff:203.0.113.9', '203.0.113.9'],
      ['2001:DB8:1:2:0:0:0:1', '2001:db8:1:2::/64'],
      ['2001:db8:1:2::/64', '2001:db8:1:2::/64'],
    ] as const) {
      const bans = createBans()
      assert.equal(bans.add(text, undefined, 0)?.peerKey, key, text)
      assert.equal(bans.lift(text, 0), true, text)
      assert.deepEqual(bans.list(0), [])
    }
  })

  it('refuse what is not an address', () => {
    const bans = createBans()
    for (const text of ['', 'example.com', '203.0.113.0/24', '2001:db8::/48', '1.2.3']) {
      assert.equal(bans.add(text, undefined, 0), undefined, text)
      assert.equal(bans.lift(text, 0), undefined, text)
    }
  })

  it('take the place of one in force, and last ten years at most', () => {
    const bans = createBans()
    strike(bans, attacker, 5, 0)
    bans.add(attacker.address, 1000, 0)
    assert.equal(bans.remainingMs(attacker, 0), 1000)
    bans.add(attacker.address, Number.MAX_VALUE, 0)
    assert.equal(bans.remainingMs(attacker, 0), 3650 * DAY_MS)
    assert.equal(bans.list(0).length, 1)
  })
})

describe('lifting a ban', () => {
  it('forgets the offences and earlier bans, and tells', () => {
    const lifted: string[] = []
    const bans = createBans({ onLift: (key) => lifted.push(key) })
    strike(bans, attacker, 5, 0)
    strike(bans, attacker, 5, HOUR_MS)
    strike(bans, stranger, 4, HOUR_MS)
    assert.equal(bans.lift(attacker.address, HOUR_MS), true)
    assert.equal(bans.lift(attacker.address, HOUR_MS), false)
    assert.equal(bans.lift(stranger.address, HOUR_MS), false)
    assert.deepEqual(lifted, ['203.0.113.7'])
    bans.strike(stranger, HOUR_MS)
    assert.equal(bans.isBanned(stranger, HOUR_MS), false)
    strike(bans, attacker, 5, HOUR_MS)
    assert.equal(bans.remainingMs(attacker, HOUR_MS), HOUR_MS)
  })
})

describe('a restart', () => {
  it('keeps bans, their doubling and the vouched tokens', () => {
    const before = createBans()
    before.vouch(attacker, agent, 0)
    strike(before, attacker, 5, 0)
    strike(before, attacker, 5, HOUR_MS)
    strike(before, stranger, 5, 0)
    const saved = before.snapshot(HOUR_MS + MINUTE_MS)

    const after = createBans()
    after.restore(saved, 7)
    assert.equal(after.remainingMs(attacker, 7), 2 * HOUR_MS - MINUTE_MS)
    assert.equal(after.isVouched(attacker, agent, 7), true)
    assert.equal(after.isShut(attacker, 7), false)
    assert.equal(after.isBanned(stranger, 7), false)
    strike(after, stranger, 5, 7)
    assert.equal(after.remainingMs(stranger, 7), 2 * HOUR_MS)
    assert.deepEqual(
      after.snapshot(7).bans.map(({ peerKey, repeats }) => [peerKey, repeats]),
      [
        ['203.0.113.7', 1],
        ['203.0.113.8', 1],
      ],
    )
  })

  it('lets go of peers that have become exempt, but not of bans set by hand', () => {
    const before = createBans()
    strike(before, attacker, 5, 0)
    before.add(stranger.address, undefined, 0)
    const after = createBans({ exempt: createExempt(['203.0.113.0/24']) })
    after.restore(before.snapshot(0), 0)
    assert.equal(after.isBanned(attacker, 0), false)
    assert.equal(after.isBanned(stranger, 0), true)
  })

  it('keeps the newest of everything where there is too much, and all bans set by hand', () => {
    const bans = createBans({ strikes: 1 })
    bans.add('198.51.100.1', DAY_MS, 0)
    for (let at = 0; at < 10; at += 1) bans.vouch(peerAt(`10.0.0.${at}`), agent, 0)
    for (let at = 0; at < 10; at += 1) bans.strike(peerAt(`203.0.113.${at}`), at * 1000)
    const inForce = bans.snapshot(10_000, 3)
    assert.deepEqual(
      inForce.bans.map(({ address }) => address),
      ['198.51.100.1', '203.0.113.7', '203.0.113.8', '203.0.113.9'],
    )
    assert.deepEqual(
      inForce.vouched.map(({ peerKey }) => peerKey),
      ['10.0.0.7', '10.0.0.8', '10.0.0.9'],
    )
    for (let at = 0; at < 10; at += 1) bans.isBanned(peerAt(`203.0.113.${at}`), 2 * HOUR_MS)
    const over = bans.snapshot(2 * HOUR_MS, 3)
    assert.deepEqual(
      over.ended.map(({ peerKey }) => peerKey),
      ['203.0.113.7', '203.0.113.8', '203.0.113.9'],
    )
    assert.equal(bans.count(2 * HOUR_MS), 1)
  })

  it('says when there is something new to save', () => {
    const bans = createBans()
    const changes: string[] = []
    bans.watch((what) => changes.push(what))
    bans.vouch(attacker, agent, 0)
    bans.vouch(attacker, agent, 10 * MINUTE_MS)
    strike(bans, attacker, 5, 0)
    bans.lift(attacker.address, 0)
    bans.lift(attacker.address, 0)
    assert.deepEqual(changes, ['vouched', 'bans', 'bans'])
  })
})

describe('exemptions', () => {
  const addresses = {
    loopback: ['127.0.0.1', '127.255.0.1', '::1'],
    private: [
      '10.0.0.1',
      '172.16.0.1',
      '172.31.255.255',
      '192.168.0.1',
      '100.64.0.1',
      '169.254.1.1',
      'fd12::1',
      'fe80::1',
    ],
    public: ['172.32.0.1', '100.128.0.1', '203.0.113.7', '2001:db8::1', '8.8.8.8', '::2'],
  }

  it('understand loopback and private', () => {
    const exempt = createExempt(['loopback', 'private'])
    for (const address of [...addresses.loopback, ...addresses.private]) {
      assert.equal(exempt(peerAt(address)), true, address)
    }
    for (const address of addresses.public) assert.equal(exempt(peerAt(address)), false, address)
  })

  it('are empty with none, and with nothing', () => {
    for (const exempt of [createExempt(['none']), createExempt([])]) {
      for (const address of Object.values(addresses).flat()) {
        assert.equal(exempt(peerAt(address)), false, address)
      }
    }
  })

  it('understand addresses and CIDRs of both families', () => {
    const exempt = createExempt(['203.0.113.0/24', '198.51.100.1', '2001:db8:1::/48'])
    assert.equal(exempt(peerAt('203.0.113.255')), true)
    assert.equal(exempt(peerAt('198.51.100.1')), true)
    assert.equal(exempt(peerAt('198.51.100.2')), false)
    assert.equal(exempt(peerAt('2001:db8:1:ffff::1')), true)
    assert.equal(exempt(peerAt('2001:db8:2::1')), false)
  })

  it('name the word that is wrong', () => {
    for (const word of ['privat', '10.0.0.0/33', '10.0.0.0/8/8', '::/129', '10.0.0.0/', '/8']) {
      assert.throws(
        () => createExempt(['loopback', word]),
        (error) => error instanceof TypeError && error.message.includes(JSON.stringify(word)),
        word,
      )
    }
  })
})
