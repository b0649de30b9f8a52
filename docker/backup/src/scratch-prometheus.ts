/** A Prometheus of our own, for a look at blocks that were unpacked. */
import { spawn } from 'node:child_process'
import { link, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type Comparison, compareChecks, countSamples } from './checks.ts'
import type { Manifest } from './manifest.ts'
import { Prometheus } from './prometheus.ts'
import { StageFault, said, Unusable } from './unusable.ts'

const START_MS = 10 * 60_000
const STOP_MS = 10_000
const LOOK_EVERY_MS = 50
const MAX_STDERR = 20_000

/** What the blocks were found to hold. */
export interface Findings extends Comparison {
  /** Samples that were read, and those that the blocks say they have. */
  readonly counted: number
  readonly stated: number
}

/**
 * Starts a Prometheus on hard links to the blocks, has every sample read, and compares with the
 * manifest. The blocks themselves stay as they are.
 *
 * @throws {Unusable} where they are not what the manifest says.
 */
export async function examine(
  blocks: string,
  manifest: Manifest,
  { program, beside, signal }: { program: string; beside: string; signal: AbortSignal },
): Promise<Findings> {
  if (manifest.blocks.length === 0) throw new Unusable('the backup has no block of Prometheus')
  await mkdir(beside)
  try {
    const data = join(beside, 'data')
    await linkAll(blocks, data)
    return await withPrometheus({ program, data, config: join(beside, 'config.yml') }, (own) =>
      look(own, manifest, signal),
    )
  } finally {
    await rm(beside, { recursive: true, force: true })
  }
}

async function look(own: Prometheus, manifest: Manifest, signal: AbortSignal): Promise<Findings> {
  const loaded = await own.ownMetric('prometheus_tsdb_blocks_loaded')
  if (loaded !== manifest.blocks.length)
    throw new Unusable(
      `Prometheus takes ${loaded} of the ${manifest.blocks.length} blocks of the manifest`,
    )
  try {
    const comparison = await compareChecks(own, manifest.checks, signal)
    return { ...comparison, ...(await countSamples(own, manifest.blocks, signal)) }
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof Unusable) throw error
    throw new Unusable(`Prometheus cannot read the blocks: ${said(error)}`)
  }
}

interface Start {
  readonly program: string
  readonly data: string
  /** Where its configuration is put. */
  readonly config: string
}

async function withPrometheus<T>(
  { program, data, config }: Start,
  use: (own: Prometheus) => Promise<T>,
): Promise<T> {
  await writeFile(config, 'global: {}\n')
  const address = `127.0.0.1:${await freePort()}`
  const child = spawn(
    program,
    [
      ...[`--config.file=${config}`, `--storage.tsdb.path=${data}`, '--log.level=warn'],
      `--web.listen-address=${address}`,
      // Or it would delete what is older than its 15 days, and merge what is left.
      '--storage.tsdb.retention.time=100y',
      ...['--storage.tsdb.min-block-duration=2h', '--storage.tsdb.max-block-duration=2h'],
      ...['--query.timeout=1h', '--query.max-samples=500000000'],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env.PATH } },
  )
  let stderr = ''
  child.stderr.on('data', (text) => {
    stderr = `${stderr}${text}`.slice(-MAX_STDERR)
  })
  let end: string | undefined
  let missing: string | undefined
  const ended = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      missing = error.message
      resolve()
    })
    child.once('close', (code, signal) => {
      end ??= `ended with ${signal ?? `exit code ${code}`}: ${lastLine(stderr)}`
      resolve()
    })
  })
  try {
    const own = new Prometheus(`http://${address}`)
    const limitMs = performance.now() + START_MS
    while (!(await own.isReady())) {
      if (missing !== undefined)
        throw new StageFault('verify', `${program} cannot be started: ${missing}`)
      if (end !== undefined) throw new Unusable(`Prometheus does not start on the blocks: ${end}`)
      if (performance.now() > limitMs)
        throw new StageFault('verify', `${program} was not ready after 10 minutes`)
      await pause(LOOK_EVERY_MS)
    }
    return await use(own)
  } finally {
    child.kill('SIGTERM')
    const kill = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    await ended
    clearTimeout(kill)
  }
}

/** The same tree, with hard links for files: no room is taken. */
async function linkAll(from: string, to: string): Promise<void> {
  await mkdir(to)
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) await linkAll(source, target)
    else await link(source, target)
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port of 127.0.0.1')
  return address.port
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}
