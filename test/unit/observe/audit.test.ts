import assert from 'node:assert/strict'
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { AuditFile, auditLine } from '../../../src/observe/audit.ts'
import { eventually } from '../../support/eventually.ts'

const REFUSED = {
  wallMs: 1_800_000_000_123,
  event: 'auth_refused',
  reason: 'token_unknown',
  address: '203.0.113.9',
  protocol: 'grpc',
  signal: 'traces',
  userAgent: 'agent/1.0',
} as const

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'tollgate-audit-'))
  t.after(() => rmSync(path, { recursive: true }))
  return path
}

async function opened(path: string, maxFileBytes?: number) {
  const told: string[] = []
  const file = await AuditFile.open({
    path,
    ...(maxFileBytes === undefined ? {} : { maxFileBytes }),
    onFailure: (cause) => told.push(`failed: ${cause instanceof Error ? cause.message : cause}`),
    onRecovery: () => told.push('recovered'),
  })
  return { file, told }
}

test('format 1, to the letter', () => {
  assert.equal(
    auditLine(REFUSED),
    '{"v":1,"time":1800000000123,"event":"auth_refused","reason":"token_unknown","client":{"ip":"203.0.113.9"},"protocol":"grpc","signal":"traces","userAgent":"agent/1.0"}\n',
  )
  assert.equal(
    auditLine({
      wallMs: 1_800_000_000_000.7,
      event: 'banned',
      reason: 'strikes',
      address: '2001:db8::5',
      seconds: 3600,
    }),
    '{"v":1,"time":1800000000000,"event":"banned","reason":"strikes","client":{"ip":"2001:db8::5"},"seconds":3600}\n',
  )
})

test('a rotation has no client', () => {
  assert.equal(
    auditLine({
      wallMs: 1_800_000_000_000,
      event: 'rotation',
      reason: 'published',
      holder: 'web-shop',
      token: 'k3m9xw2p',
      place: 'file:tokens.json',
    }),
    '{"v":1,"time":1800000000000,"event":"rotation","reason":"published","holder":"web-shop","token":"k3m9xw2p","place":"file:tokens.json"}\n',
  )
})

test('whatever the user agent is, the line is one line of plain ASCII that reads back', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (userAgent) => {
      const line = auditLine({ ...REFUSED, userAgent })
      assert.match(line, /^[\x20-\x7e]+\n$/)
      assert.ok(line.startsWith(auditLine({ ...REFUSED, userAgent: '' }).slice(0, -4)))
      const read: unknown = JSON.parse(line)
      assert.ok(typeof read === 'object' && read !== null && 'userAgent' in read)
      assert.equal(read.userAgent, userAgent.slice(0, 200))
    }),
  )
})

test('a token in the user agent does not get out', () => {
  const line = auditLine({ ...REFUSED, userAgent: 'x tg_k7f3_0123456789abcdefghijklmnop' })
  assert.match(line, /"x tg_\[redacted\]"/)
})

test('appends to what is there, in order, and has written all when closed', async (t) => {
  const path = join(folder(t), 'audit.log')
  for (const round of [1, 2]) {
    const { file, told } = await opened(path)
    for (let second = 0; second < 100; second += 1)
      file.write({ ...REFUSED, wallMs: round * 1000 + second })
    await file.close()
    assert.deepEqual(told, [])
  }
  const times = readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).time)
  assert.deepEqual(
    times,
    [1, 2].flatMap((round) => Array.from({ length: 100 }, (_, second) => round * 1000 + second)),
  )
  assert.equal(statSync(path).mode & 0o137, 0, 'no more than owner read-write and group read')
})

test('writes to the new file after it was moved away and reopened', async (t) => {
  const path = join(folder(t), 'audit.log')
  const { file } = await opened(path)
  file.write({ ...REFUSED, wallMs: 1 })
  renameSync(path, `${path}.1`)
  await file.reopen()
  file.write({ ...REFUSED, wallMs: 2 })
  await file.close()
  assert.match(readFileSync(`${path}.1`, 'utf8'), /^[^\n]*"time":1,[^\n]*\n$/)
  assert.match(readFileSync(path, 'utf8'), /^[^\n]*"time":2,[^\n]*\n$/)
})

test('keeps the old file where the new one cannot be opened', async (t) => {
  const inside = join(folder(t), 'logs')
  mkdirSync(inside)
  const path = join(inside, 'audit.log')
  const { file } = await opened(path)
  renameSync(inside, `${inside}.old`)
  await assert.rejects(file.reopen(), { code: 'ENOENT' })
  file.write({ ...REFUSED, wallMs: 7 })
  await file.close()
  assert.match(readFileSync(join(`${inside}.old`, 'audit.log'), 'utf8'), /"time":7/)
})

test('a full disk is told once, counted, and told again when it is over', async (t) => {
  const path = join(folder(t), 'audit.log')
  symlinkSync('/dev/full', path)
  const { file, told } = await opened(path)
  file.write(REFUSED)
  file.write(REFUSED)
  await file.reopen()
  file.write(REFUSED)
  await file.reopen()
  assert.deepEqual(told, ['failed: ENOSPC: no space left on device, write'])
  assert.equal(file.lostLines, 3)
  rmSync(path)
  await file.reopen()
  file.write({ ...REFUSED, wallMs: 9 })
  await file.close()
  assert.equal(told.at(-1), 'recovered')
  assert.match(readFileSync(path, 'utf8'), /^\{"v":1,"time":9,/)
})

test('lines that come faster than the disk takes them are dropped and counted', async (t) => {
  const path = join(folder(t), 'audit.log')
  const { file, told } = await opened(path)
  const many = 20_000
  for (let line = 0; line < many; line += 1) file.write(REFUSED)
  const lost = file.lostLines
  await file.close()
  const written = readFileSync(path, 'utf8').trimEnd().split('\n').length
  assert.ok(lost > 0)
  assert.equal(written + lost, many)
  assert.deepEqual(told, ['failed: audit lines come faster than the disk takes them', 'recovered'])
})

test('a file that has grown too large is moved aside, and one before it goes', async (t) => {
  const path = join(folder(t), 'audit.log')
  const limit = 4 * auditLine(REFUSED).length
  const { file, told } = await opened(path, limit)
  for (let second = 1; second <= 11; second += 1) {
    file.write({ ...REFUSED, wallMs: REFUSED.wallMs + second })
    // As if a second had passed: each line is written alone.
    await file.reopen()
  }
  await file.close()
  assert.deepEqual(told, [])
  const last = (name: string) =>
    readFileSync(name, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).time - REFUSED.wallMs)
  assert.deepEqual(last(`${path}.old`), [5, 6, 7, 8])
  assert.deepEqual(last(path), [9, 10, 11])
  assert.equal(statSync(path).mode & 0o777, 0o640 & ~process.umask())
})

test('two writers of one file move it aside once', async (t) => {
  const path = join(folder(t), 'audit.log')
  const limit = 2 * auditLine(REFUSED).length
  const writers = [await opened(path, limit), await opened(path, limit)]
  for (let second = 1; second <= 5; second += 1) {
    const { file } = writers[second % 2] ?? assert.fail()
    file.write({ ...REFUSED, wallMs: REFUSED.wallMs + second })
    await eventually(() => readFileSync(path, 'utf8').includes(`${REFUSED.wallMs + second}`), 'it')
  }
  for (const { file, told } of writers) {
    await file.close()
    assert.deepEqual(told, [])
  }
  const count = (name: string) => readFileSync(name, 'utf8').trimEnd().split('\n').length
  assert.deepEqual([count(`${path}.old`), count(path)], [2, 1])
})

test('a file that cannot be moved aside grows no more, and the lines are counted as lost', async (t) => {
  const path = join(folder(t), 'audit.log')
  const { file, told } = await opened(path, auditLine(REFUSED).length)
  mkdirSync(`${path}.old`)
  file.write(REFUSED)
  await file.reopen()
  file.write(REFUSED)
  await file.reopen()
  assert.equal(file.lostLines, 1)
  assert.match(told.join(), /^failed: E/)
  rmSync(`${path}.old`, { recursive: true })
  file.write(REFUSED)
  await file.close()
  assert.equal(told.at(-1), 'recovered')
  assert.equal(readFileSync(path, 'utf8').trimStart(), auditLine(REFUSED))
})

test('half a line that a crash left spoils no other', async (t) => {
  const path = join(folder(t), 'audit.log')
  const half = auditLine(REFUSED).slice(0, 40)
  writeFileSync(path, half)
  const { file } = await opened(path)
  file.write(REFUSED)
  await file.close()
  assert.equal(readFileSync(path, 'utf8'), `${half}\n${auditLine(REFUSED)}`)
})

test('a path that cannot be opened rejects with its cause', async (t) => {
  await assert.rejects(opened(join(folder(t), 'missing', 'audit.log')), { code: 'ENOENT' })
})
