/** Makes a backup: checks, snapshot, archive, copies, retention. */
import { askChecks } from './checks.ts'
import { chooseBackup } from './choose.ts'
import { isEncrypting } from './encryption.ts'
import { readGatewayState } from './gateway-state.ts'
import type { Log } from './log.ts'
import type { FileEntry, Manifest, Seal } from './manifest.ts'
import { type BackupName, nameAt } from './names.ts'
import { pack } from './pack.ts'
import { Prometheus } from './prometheus.ts'
import { prune } from './prune.ts'
import type { Settings } from './settings.ts'
import { type Snapshot, sweepSnapshots, withSnapshot } from './snapshot.ts'
import type { Parcel, Target, TargetKind } from './target.ts'
import { StageFault, said } from './unusable.ts'
import { addStatus, alone, sweepScratch } from './work.ts'

const TOOL = 'tollgate-backup 0.1.0'

export interface World {
  readonly settings: Settings
  readonly targets: readonly Target[]
  readonly log: Log
  readonly signal: AbortSignal
}

/** What did not work for one target. */
export interface Failure {
  readonly target: TargetKind
  readonly fault: StageFault
}

/** How a backup went. A target that is not in `kept` has a failure. */
export interface Outcome {
  readonly name: BackupName
  readonly durationMs: number
  readonly kept: ReadonlyMap<TargetKind, Seal>
  readonly failures: readonly Failure[]
}

/** @throws {StageFault} where it failed for all targets, before there was an archive. */
export async function backUp(world: World): Promise<Outcome> {
  return await alone(world.settings.workDirectory, async () => {
    const beganMs = Date.now()
    await sweep(world)
    return await settle(world, await make(world, beganMs))
  })
}

/** Brings the newest whole backup of one target to others that have failed to get it. */
export async function copyOver(
  world: World,
  from: Target,
  to: readonly Target[],
): Promise<Outcome> {
  return await alone(world.settings.workDirectory, async () => {
    const beganMs = Date.now()
    await sweep(world)
    const name = await chooseBackup(from, 'latest')
    const { unpackedBytes } = await from.seal(name)
    const parcel = { name, unpackedBytes, open: () => from.open(name) }
    const made = await keep({ ...world, targets: to }, parcel)
    return await settle(world, { ...made, name, durationMs: Date.now() - beganMs })
  })
}

/** Tells how it went, and removes what is too old now. */
async function settle(world: World, made: Outcome): Promise<Outcome> {
  const { settings, log } = world
  for (const [target, { sizeBytes, sha256 }] of made.kept)
    log.info({ target, archive: made.name.archive, sizeBytes, sha256 }, 'backup kept')
  const failures = [...made.failures, ...(await pruneAll(world, made.kept))]
  for (const { target, fault } of failures) log.error({ target, stage: fault.stage }, fault.message)
  if (failures.length === 0)
    await addStatus(settings.workDirectory, { lastDurationMs: made.durationMs })
  return { ...made, failures }
}

/** Old copies go only where a new one has come. */
async function pruneAll(world: World, kept: Outcome['kept']): Promise<readonly Failure[]> {
  const failures: Failure[] = []
  for (const target of world.targets.filter(({ kind }) => kept.has(kind))) {
    try {
      await prune(world, target)
    } catch (error) {
      failures.push({ target: target.kind, fault: asFault(target, error) })
    }
  }
  return failures
}

/** What killed runs left. That it cannot be taken away is told, and hinders nothing. */
async function sweep({ settings, targets, log }: World): Promise<void> {
  const { prometheusDirectory: dataDirectory, workDirectory } = settings
  await sweepScratch(workDirectory)
  const sweeps: readonly (readonly [string, () => Promise<number>])[] = [
    ['snapshots', () => sweepSnapshots({ dataDirectory, workDirectory })],
    ...targets.map((target) => [target.where, () => target.sweep()] as const),
  ]
  for (const [where, run] of sweeps) {
    try {
      const count = await run()
      if (count > 0) log.warn({ where, count }, 'removed what an earlier run has left half made')
    } catch (error) {
      log.warn({ where }, `cannot remove what earlier runs may have left: ${said(error)}`)
    }
  }
}

async function make(world: World, beganMs: number): Promise<Outcome> {
  const { settings, targets, signal } = world
  const prometheus = new Prometheus(settings.prometheusUrl)
  const { prometheusVersion, checks } = await asking(async () => ({
    prometheusVersion: await prometheus.version(signal),
    checks: await askChecks(prometheus, beganMs, signal),
  }))
  const gateway =
    settings.gatewayDirectory === undefined ? [] : await readGatewayState(settings.gatewayDirectory)
  const places = {
    dataDirectory: settings.prometheusDirectory,
    workDirectory: settings.workDirectory,
  }
  const name = await freeName(targets, beganMs, isEncrypting(settings))
  return await withSnapshot(prometheus, places, signal, async (snapshot) => {
    const sources = [...snapshot.sources, ...gateway]
    const manifestOf = (files: readonly FileEntry[]) =>
      JSON.stringify({
        version: 1,
        tool: TOOL,
        createdAt: new Date(beganMs).toISOString(),
        ...{ prometheusVersion, checks, files },
        blocks: snapshot.blocks,
        totals: totalsOf(snapshot, files),
        hasGateway: settings.gatewayDirectory !== undefined,
      } satisfies Manifest)
    const open = () => pack(sources, manifestOf, settings)
    const unpackedBytes = sources.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
    const made = await keep(world, { name, unpackedBytes, open })
    return { ...made, name, durationMs: Date.now() - beganMs }
  })
}

/** One target after the other. A copy in a folder is what the next one gets, so nothing is packed twice. */
async function keep(
  { targets, signal }: World,
  parcel: Parcel,
): Promise<Pick<Outcome, 'kept' | 'failures'>> {
  const kept = new Map<TargetKind, Seal>()
  const failures: Failure[] = []
  let { open } = parcel
  for (const target of targets) {
    try {
      kept.set(target.kind, await target.put({ ...parcel, open }, signal))
      open = () => target.open(parcel.name)
    } catch (error) {
      signal.throwIfAborted()
      failures.push({ target: target.kind, fault: asFault(target, error) })
    }
  }
  return { kept, failures }
}

function asFault(target: Target, error: unknown): StageFault {
  return error instanceof StageFault ? error : new StageFault(target.kind, said(error), error)
}

/** The second of the beginning, or the next one that no target has a copy of. */
async function freeName(
  targets: readonly Target[],
  beganMs: number,
  isEncrypted: boolean,
): Promise<BackupName> {
  const taken = new Set<number>()
  for (const target of targets)
    for (const { name } of await target.list().catch(() => [])) taken.add(name.timeMs)
  let name = nameAt(beganMs, isEncrypted)
  while (taken.has(name.timeMs)) name = nameAt(name.timeMs + 1000, isEncrypted)
  return name
}

function totalsOf({ blocks }: Snapshot, files: readonly FileEntry[]): Manifest['totals'] {
  const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0)
  return {
    files: files.length,
    bytes: sum(files.map(({ sizeBytes }) => sizeBytes)),
    samples: sum(blocks.map(({ samples }) => samples)),
  }
}

async function asking<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (error) {
    throw new StageFault('snapshot', `Prometheus: ${said(error)}`, error)
  }
}
