/** The daily schedule, and the page with metrics beside it. */
import { createServer, type Server } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { backUp, copyOver, type World } from './backup.ts'
import { chooseBackup, chooseTarget } from './choose.ts'
import { hasKey, isEncrypting } from './encryption.ts'
import { Metrics } from './metrics.ts'
import { type Duty, dutyAt, type Known } from './schedule.ts'
import type { Target, TargetKind } from './target.ts'
import { StageFault, said } from './unusable.ts'
import { verify } from './verify.ts'
import { readStatus } from './work.ts'

/** The clock is looked at this often, so that one that is set, or a machine that slept, makes no difference. */
const LOOK_EVERY_MS = 10_000

/** Serves and makes backups until the signal. */
export async function run(world: World): Promise<void> {
  const { settings, log, signal } = world
  const metrics = new Metrics()
  const server = await serve(settings.listen, metrics)
  const at = server.address()
  log.info({ at, targets: world.targets.map(({ where }) => where) }, 'listening')
  try {
    let attempt: Known<TargetKind>['attempt']
    let newestMs = await readAll(world, metrics)
    while (!signal.aborted) {
      const nowMs = Date.now()
      const duty = dutyAt(nowMs, settings.atMinutes, { newestMs, attempt })
      if (duty.do !== 'nothing') {
        attempt = { atMs: nowMs, isSuccess: await fulfil(world, duty, metrics) }
        newestMs = await readAll(world, metrics)
      }
      await pause(LOOK_EVERY_MS, undefined, { signal }).catch(() => {})
    }
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

/** A backup, and a verification where one is due. True where all targets have it. */
async function fulfil(world: World, duty: Duty<TargetKind>, metrics: Metrics): Promise<boolean> {
  const { settings, log, signal } = world
  const isCopy = duty.do === 'copy'
  const targets = world.targets.filter(({ kind }) => !isCopy || duty.to.includes(kind))
  let isSuccess = false
  let isKept = false
  try {
    const { kept, failures } = isCopy
      ? await copyOver(world, chooseTarget(world.targets, duty.from), targets)
      : await backUp(world)
    for (const { fault } of failures) metrics.fail(fault.stage)
    for (const { kind } of targets) metrics.setAttempt(kind, kept.has(kind))
    isSuccess = kept.size === targets.length
    isKept = kept.size > 0
  } catch (error) {
    signal.throwIfAborted()
    const stage = error instanceof StageFault ? error.stage : 'snapshot'
    metrics.fail(stage)
    for (const { kind } of targets) metrics.setAttempt(kind, false)
    log.error({ stage }, said(error))
  }
  if (isKept) await verifyWhereDue(world, metrics)
  metrics.setStatus(await readStatus(settings.workDirectory))
  return isSuccess
}

/** Where backups cannot be decrypted here, this is for another machine. */
async function verifyWhereDue(world: World, metrics: Metrics): Promise<void> {
  const { settings, targets, log, signal } = world
  const { verifyEveryMs, workDirectory } = settings
  const target = targets[0]
  if (verifyEveryMs === undefined || target === undefined) return
  if (isEncrypting(settings) && !hasKey(settings)) return
  const { lastVerifyMs = 0 } = await readStatus(workDirectory)
  if (Date.now() - lastVerifyMs < verifyEveryMs) return
  try {
    await verify(world, target, await chooseBackup(target, 'latest'))
  } catch (error) {
    signal.throwIfAborted()
    metrics.fail('verify')
    log.error({ stage: 'verify', target: target.kind }, said(error))
  }
}

/** The newest whole backup of each target. */
async function readAll(
  { targets, settings, log }: World,
  metrics: Metrics,
): Promise<ReadonlyMap<TargetKind, number | undefined>> {
  metrics.setStatus(await readStatus(settings.workDirectory))
  const times = new Map<TargetKind, number | undefined>()
  for (const target of targets) times.set(target.kind, await readOne(target, log, metrics))
  return times
}

async function readOne(
  target: Target,
  log: World['log'],
  metrics: Metrics,
): Promise<number | undefined> {
  try {
    return await metrics.readTarget(target)
  } catch (error) {
    metrics.fail(target.kind)
    log.warn({ target: target.kind }, `cannot be listed: ${said(error)}`)
    return undefined
  }
}

async function serve(listen: World['settings']['listen'], metrics: Metrics): Promise<Server> {
  const server = createServer((request, answer) => {
    const isRead = request.method === 'GET' || request.method === 'HEAD'
    if (isRead && request.url === '/healthz') answer.end('ok\n')
    else if (isRead && request.url === '/metrics')
      metrics.page().then(
        ({ text, type }) => answer.setHeader('content-type', type).end(text),
        (error: unknown) => answer.writeHead(500).end(`${said(error)}\n`),
      )
    else answer.writeHead(404).end('see /metrics\n')
  })
  server.requestTimeout = 10_000
  server.maxConnections = 50
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(listen.port, listen.host, () => resolve())
  })
  return server
}
