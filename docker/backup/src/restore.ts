/** Puts a backup in place. Everything is proven to be good before anything is touched. */
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { World } from './backup.ts'
import { compareChecks } from './checks.ts'
import type { Owner } from './kinds.ts'
import { writeWhole } from './local-target.ts'
import type { Manifest } from './manifest.ts'
import { type BackupName, compact } from './names.ts'
import { Prometheus } from './prometheus.ts'
import { examine } from './scratch-prometheus.ts'
import { giveTo, putBack, stageName, swapIn, sweepStages } from './swap.ts'
import type { Target } from './target.ts'
import { type Part, unpack } from './unpack.ts'
import { Unusable } from './unusable.ts'
import { alone, needRoom } from './work.ts'

const RESTORED = 'restored.json'
const DAY_MS = 86_400_000

interface Place {
  readonly part: Part
  readonly directory: string
  readonly owner: Owner
}

/** What the next command, `check`, has to know. */
interface Restored {
  readonly archive: string
  readonly checks: Manifest['checks']
  /** Old content that was put aside. */
  readonly before: readonly string[]
  readonly hasPrometheus: boolean
}

/**
 * Restores all parts, or one. Prometheus and the gateway must not run.
 *
 * @throws {Unusable} saying why the backup or this moment will not do; nothing has changed then.
 */
export async function restore(
  world: World,
  target: Target,
  name: BackupName,
  only: Part | undefined,
): Promise<void> {
  const { settings, log } = world
  await alone(settings.workDirectory, async () => {
    const places = placesOf(world, only)
    for (const place of places) await prepare(world, place)
    const stage = stageName(randomBytes(4).toString('hex'))
    const before = `before-restore-${compact(Date.now())}`
    try {
      const manifest = await stageParts(world, { target, name, places, stage })
      await swapAll(places, stage, before)
      for (const { part, directory } of places) log.info({ part, directory, before }, 'restored')
      const restored: Restored = {
        archive: name.archive,
        checks: manifest.checks,
        before: places.map(({ directory }) => join(directory, before)),
        hasPrometheus: places.some(({ part }) => part === 'prometheus'),
      }
      await writeWhole(join(settings.workDirectory, RESTORED), JSON.stringify(restored))
      if (restored.hasPrometheus) warnOfRetention(world, manifest)
    } finally {
      for (const { directory } of places)
        await rm(join(directory, stage), { recursive: true, force: true })
    }
  })
}

/** Both parts or none: where the second cannot be swapped, the first is swapped back. */
async function swapAll(places: readonly Place[], stage: string, before: string): Promise<void> {
  const done: string[] = []
  try {
    for (const { directory } of places) {
      await swapIn(directory, stage, before)
      done.push(directory)
    }
  } catch (error) {
    const undone = stageName('undone')
    for (const directory of done) {
      await swapIn(directory, before, undone)
      await rm(join(directory, undone), { recursive: true })
    }
    throw error
  }
}

/**
 * Asks the Prometheus that runs now whether it has what the backup had; with `dropsOld`, what was put
 * aside goes then.
 *
 * @throws {Unusable} where samples are missing.
 */
export async function check(world: World, dropsOld: boolean): Promise<number> {
  const { settings, signal, log } = world
  const path = join(settings.workDirectory, RESTORED)
  const text = await readFile(path, 'utf8').catch(() => undefined)
  if (text === undefined) throw new Unusable('nothing was restored with this work directory')
  const { archive, checks, before, hasPrometheus } = JSON.parse(text) as Restored
  let values = 0
  if (hasPrometheus) {
    const prometheus = new Prometheus(settings.prometheusUrl)
    if (!(await prometheus.isReady()))
      throw new Unusable(`${prometheus.url} is not ready: start Prometheus, and check again`)
    values = (await compareChecks(prometheus, checks, signal)).values
    log.info({ archive, values }, 'Prometheus has what the backup had')
  }
  for (const directory of dropsOld ? before : []) {
    await rm(directory, { recursive: true, force: true })
    log.info({ directory }, 'removed what the restore had put aside')
  }
  return values
}

function placesOf({ settings }: World, only: Part | undefined): readonly Place[] {
  const { prometheusDirectory, gatewayDirectory, prometheusOwner, gatewayOwner } = settings
  const all: readonly (Place | undefined)[] = [
    { part: 'prometheus', directory: prometheusDirectory, owner: prometheusOwner },
    gatewayDirectory === undefined
      ? undefined
      : { part: 'gateway', directory: gatewayDirectory, owner: gatewayOwner },
  ]
  const places = all.filter((place) => place !== undefined)
  const chosen = only === undefined ? places : places.filter(({ part }) => part === only)
  if (chosen.length === 0)
    throw new Unusable('TOLLGATE_BACKUP_GATEWAY_DIR is off: there is no place for the gateway')
  return chosen
}

/** @throws {Unusable} where somebody uses the directory. */
async function prepare({ settings, log }: World, { part, directory, owner }: Place): Promise<void> {
  const mode = part === 'gateway' ? 0o700 : 0o755
  if ((await mkdir(directory, { recursive: true, mode })) !== undefined)
    await giveTo(owner, directory)
  if (part === 'prometheus' && (await new Prometheus(settings.prometheusUrl).uses(directory)))
    throw new Unusable(
      `Prometheus runs at ${settings.prometheusUrl}, and uses ${directory}: stop it first`,
    )
  if (part === 'gateway' && (await answers(join(directory, 'control.sock'))))
    throw new Unusable(`the gateway runs, and uses ${directory}: stop it first`)
  if (await putBack(directory))
    log.warn({ directory }, 'an earlier restore was broken off; the old content is back')
  await sweepStages(directory)
}

async function stageParts(
  { settings, signal }: World,
  {
    target,
    name,
    places,
    stage,
  }: { target: Target; name: BackupName; places: readonly Place[]; stage: string },
): Promise<Manifest> {
  const seal = await target.seal(name)
  const into: Partial<Record<Part, string>> = {}
  for (const { part, directory } of places) {
    if (part === 'prometheus') await needRoom(directory, seal.unpackedBytes)
    into[part] = join(directory, stage)
    await mkdir(join(directory, stage), { mode: 0o700 })
  }
  const manifest = await unpack(await target.open(name), {
    name,
    seal,
    key: settings,
    into,
    signal,
  })
  if (into.gateway !== undefined && !manifest.hasGateway)
    throw new Unusable(
      `${name.archive} has no state of the gateway: restore with --only prometheus`,
    )
  const prometheus = into.prometheus
  if (prometheus !== undefined)
    await examine(prometheus, manifest, {
      ...{ program: settings.prometheusProgram, beside: `${prometheus}-look`, signal },
    })
  for (const { part, owner } of places) await giveTo(owner, into[part] ?? '')
  return manifest
}

/** Prometheus deletes what is older than its retention as soon as it starts. */
function warnOfRetention({ log }: World, { blocks, createdAt }: Manifest): void {
  const oldestMs = Math.min(...blocks.map(({ minTimeMs }) => minTimeMs))
  const days = Math.ceil((Date.now() - oldestMs) / DAY_MS)
  log.warn(
    { createdAt },
    `the oldest sample is ${days} days old: Prometheus deletes what is older than its --storage.tsdb.retention.time when it starts`,
  )
}

/** Whether somebody listens on a socket. */
async function answers(path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
