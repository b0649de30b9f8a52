import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createLog, type Log, type LogOptions } from '../../../src/observe/log.ts'
import { runToEnd } from '../../support/child.ts'

const SECRET = 'tg_k7f3_0123456789abcdefghijklmnopqrstuvwxyz'

function fileLog(
  t: TestContext,
  options: Omit<LogOptions, 'fd'>,
): { readonly log: Log; readonly text: () => string } {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-log-'))
  const path = join(folder, 'log')
  const fd = openSync(path, 'a')
  t.after(() => {
    closeSync(fd)
    rmSync(folder, { recursive: true })
  })
  return { log: createLog({ ...options, fd }), text: () => readFileSync(path, 'utf8') }
}

test('a JSON line has level, time, event, fields and message, and is there when the call returns', (t) => {
  const { log, text } = fileLog(t, { level: 'info', format: 'json' })
  log.warn('ban', 'Banned 203.0.113.9', { peer: '203.0.113.9' })
  const line = JSON.parse(text())
  assert.deepEqual(Object.keys(line), ['level', 'time', 'event', 'peer', 'msg'])
  assert.equal(line.level, 'warn')
  assert.match(line.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  assert.equal(line.event, 'ban')
  assert.equal(line.msg, 'Banned 203.0.113.9')
})

test('lines below the level are not written', (t) => {
  const { log, text } = fileLog(t, { level: 'warn', format: 'json' })
  log.info('notice', 'no')
  log.debug('request', 'no')
  assert.equal(text(), '')
  assert.equal(log.isDebug, false)
  log.error('internal', 'yes')
  assert.match(text(), /yes/)
})

for (const format of ['json', 'text'] as const) {
  test(`${format}: a secret does not get out, wherever it stands`, (t) => {
    const { log, text } = fileLog(t, { level: 'debug', format })
    const err = new Error(`bad header "Bearer ${SECRET}"`, { cause: new Error(SECRET) })
    log.error('internal', `message with ${SECRET}`, { err, detail: SECRET, deep: { a: [SECRET] } })
    assert.match(text(), /redacted/)
    assert.equal(text().includes(SECRET.slice(8)), false)
    assert.match(text(), /caused by/)
  })

  test(`${format}: a foreign string cannot make a line of its own or steer the terminal`, (t) => {
    const { log, text } = fileLog(t, { level: 'debug', format })
    log.info('refused', 'from\n{"level":"error"}\u001b[2J', { userAgent: 'a\nb\u001b[2J' })
    assert.equal(text().trimEnd().split('\n').length, 1)
    assert.equal(text().includes('\u001b'), false)
  })
}

test('text is one plain line: time, level, message, fields', (t) => {
  const { log, text } = fileLog(t, { level: 'info', format: 'text' })
  log.info('listening', 'Listening for OTLP/gRPC on [::]:4317', { port: 4317 })
  assert.match(
    text(),
    /^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\] INFO: Listening for OTLP\/gRPC on \[::\]:4317 \{"port":4317\}\n$/,
  )
})

test('a line that cannot be written is counted and does not throw', (t) => {
  const fd = openSync('/dev/full', 'w')
  t.after(() => closeSync(fd))
  const log = createLog({ level: 'info', format: 'json', fd })
  log.info('notice', 'lost')
  log.info('notice', 'lost')
  assert.equal(log.lostLines, 2)
})

test('nothing is lost when the process ends at once', async () => {
  const program = `
    import { createLog } from ${JSON.stringify(new URL('../../../src/observe/log.ts', import.meta.url).href)}
    const log = createLog({ level: 'info', format: 'json' })
    for (let line = 0; line < 500; line += 1) log.info('notice', 'line ' + line)
    process.exit(0)`
  const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program]
  const { code, stderr } = await runToEnd(process.execPath, args)
  assert.equal(code, 0)
  assert.equal(stderr.split('\n').length, 500)
  assert.match(stderr, /line 499/)
})
