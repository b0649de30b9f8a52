/**
 * A Docker engine of a test's own, in a network namespace of its own: bridges, firewall rules and
 * published ports are there, and nothing of the machine is touched. It has no way out to the internet.
 */
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import { Child, type ChildOptions, type Exit, runToEnd } from './child.ts'
import { findTool, hasTools, ROOT, tool } from './tools.ts'

/** Debian's client and engine are of one version; another client that comes first in PATH may be newer. */
export const DOCKER = '/usr/bin/docker'
const START_MS = 60_000
const STOP_MS = 60_000

export interface RunOptions extends ChildOptions {
  /** Default 120 s. */
  readonly timeoutMs?: number
}

export type Ended = Exit & { readonly stdout: string; readonly stderr: string }

/** A running engine. */
export interface Engine {
  /** Name of the network namespace that its ports and bridges are in; undefined for the machine's own. */
  readonly namespace: string | undefined
  /** A folder for the test's files, removed with the engine. */
  readonly folder: string
  /** The environment for other clients of it, with DOCKER_HOST. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Runs `docker …` to its end. Its exit code is not judged. */
  attempt(args: readonly string[], options?: RunOptions): Promise<Ended>
  /** Runs `docker …` and resolves with what it printed. Throws where it fails. */
  docker(args: readonly string[], options?: RunOptions): Promise<string>
  /** Runs Compose v2. Throws where it fails. */
  compose(args: readonly string[], options?: RunOptions): Promise<string>
  /** A program with its arguments, as one that runs in the namespace. */
  inside(program: string, ...args: string[]): readonly [string, string[]]
  /** Runs a program in the namespace. Its exit code is not judged. */
  runInside(program: string, ...args: string[]): Promise<Ended>
  /** Ends all containers and the engine, and removes whatever it made. */
  [Symbol.asyncDispose](): Promise<void>
}

/** Whether an engine can be started here; the test is skipped if not, and fails where CI=true. */
export function hasDocker(t: TestContext, ...further: string[]): boolean {
  if (!hasTools(t, 'dockerd', 'iptables', 'ip', 'nsenter', 'setpriv', 'unshare', ...further))
    return false
  if (process.getuid?.() === 0) return true
  const why = 'a Docker engine of our own needs root'
  if (process.env.CI === 'true') throw new Error(why)
  t.skip(`SKIP: ${why}`)
  return false
}

/** Starts an engine for this test, and ends it with the test. `flags` are further ones of dockerd. */
export async function startEngine(t: TestContext, flags: readonly string[] = []): Promise<Engine> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-docker-'))
  // The folder's random part makes the name one of a kind.
  const namespace = `tg-${folder.slice(folder.lastIndexOf('-') + 1)}`
  await ip('netns', 'add', namespace)
  try {
    await ip('-n', namespace, 'link', 'set', 'lo', 'up')
    const engine = await launch({ folder, dataRoot: join(folder, 'data'), namespace, flags })
    t.after(() => engine[Symbol.asyncDispose]())
    return engine
  } catch (error) {
    await ip('netns', 'delete', namespace)
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

/**
 * An engine that only builds, in the machine's own network so that it reaches package registries. It
 * makes no bridge and no firewall rule. `dataRoot` stays, with what was built. `lock` is a file that
 * keeps a second one away meanwhile.
 */
export async function startBuilder(dataRoot: string, lock: string): Promise<Engine> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-builder-'))
  const flags = '--bridge=none --iptables=false --ip6tables=false --ip-forward=false'.split(' ')
  try {
    return await launch({ folder, dataRoot, lock, flags })
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

interface Launch {
  readonly folder: string
  readonly dataRoot: string
  readonly namespace?: string
  readonly lock?: string
  readonly flags: readonly string[]
}

async function launch({ folder, dataRoot, namespace, lock, flags }: Launch): Promise<Engine> {
  const enter = namespace === undefined ? [] : ['nsenter', `--net=/run/netns/${namespace}`]
  const socket = `unix://${join(folder, 'docker.sock')}`
  const [program = '', ...args] = [
    ...(lock === undefined ? [] : ['flock', '--no-fork', lock]),
    ...enter,
    // Mounts of its own, shared as systemd shares them: containers may ask for what is mounted later.
    ...['unshare', '--mount', '--propagation', 'shared'],
    // It ends with the test even where the test is killed.
    ...['setpriv', '--pdeathsig', 'TERM'],
    tool('dockerd'),
    ...[`--data-root=${dataRoot}`, `--exec-root=${join(folder, 'exec')}`],
    ...[`--pidfile=${join(folder, 'docker.pid')}`, `--host=${socket}`],
    ...flags,
  ]
  const daemon = new Child(program, args)
  const env = {
    ...process.env,
    PATH: `${dirname(DOCKER)}:${process.env.PATH}`,
    DOCKER_HOST: socket,
    DOCKER_BUILDKIT: '1',
    DOCKER_CONFIG: await layOutClient(folder),
  }
  const attempt = (given: readonly string[], options: RunOptions = {}) =>
    runToEnd(DOCKER, given, { timeoutMs: 120_000, ...options, env: { ...env, ...options.env } })
  const inside = (name: string, ...given: string[]): readonly [string, string[]] => {
    const [first = name, ...rest] = [...enter, name, ...given]
    return [first, rest]
  }
  await daemon.line(
    'stderr',
    (line) => line.includes('API listen on') || undefined,
    START_MS * (lock === undefined ? 1 : 10),
  )
  return {
    namespace,
    folder,
    env,
    attempt,
    docker: async (given, options) =>
      successOf(await attempt(given, options), `docker ${given.join(' ')}`),
    compose: async (given, options = {}) => {
      const ended = await runToEnd(tool('docker-compose'), given, {
        timeoutMs: 300_000,
        cwd: ROOT,
        ...options,
        env: { ...env, ...options.env },
      })
      return successOf(ended, `docker-compose ${given.join(' ')}`)
    },
    inside,
    runInside: (name, ...given) => {
      const [first, rest] = inside(name, ...given)
      return runToEnd(first, rest, { timeoutMs: 120_000 })
    },
    async [Symbol.asyncDispose]() {
      const running = (await attempt(['ps', '--quiet'])).stdout.split('\n').filter(Boolean)
      if (running.length > 0) await attempt(['kill', ...running])
      daemon.kill('SIGTERM')
      await endOf(daemon)
      await rm(folder, { recursive: true, force: true })
      if (namespace !== undefined) await ip('netns', 'delete', namespace)
    },
  }
}

/** The settings of clients: Compose is there as `docker compose`, where it is installed. */
async function layOutClient(folder: string): Promise<string> {
  const plugins = join(folder, 'client', 'cli-plugins')
  await mkdir(plugins, { recursive: true })
  const compose = findTool('docker-compose')
  if (compose !== undefined) await symlink(compose, join(plugins, 'docker-compose'))
  return join(folder, 'client')
}

function successOf({ code, stdout, stderr }: Ended, what: string): string {
  if (code !== 0) throw new Error(`${what} ended with ${code}:\n${stdout}\n${stderr}`)
  return stdout
}

async function endOf(daemon: Child): Promise<void> {
  const timer = setTimeout(() => daemon.kill('SIGKILL'), STOP_MS)
  await daemon.exit
  clearTimeout(timer)
}

async function ip(...args: string[]): Promise<void> {
  const { code, stderr } = await runToEnd(tool('ip'), args)
  if (code !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`)
}
