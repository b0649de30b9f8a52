/** The images of tests: bases made of this machine's programs, and what is built of them, once. */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, realpath, rename, rm, stat, utimes } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { type Engine, startBuilder } from './docker-engine.ts'
import { type RootfsParts, withRootfs } from './rootfs.ts'
import { findTool, ROOT } from './tools.ts'

const CACHE =
  process.env.TOLLGATE_TOOLS_CACHE ??
  join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'tollgate-tools')
const BUILD_MS = 900_000
/** Builds of so many states of the sources are kept. */
const KEPT = 4

/** An image made without a build. */
export interface LocalImage extends RootfsParts {
  readonly tag: string
  /** Instructions as `docker import --change` takes them: ENTRYPOINT, CMD, USER, ENV, WORKDIR. */
  readonly changes: readonly string[]
  /** uid:gid of `owned`. Default root. */
  readonly user?: string
}

/** Makes an image in this engine, unless it has it. */
export async function importImage(engine: Engine, image: LocalImage): Promise<void> {
  const key = await keyOfParts(image)
  const label = '{{index .Config.Labels "tollgate.test.key"}}'
  const there = await engine.attempt(['image', 'inspect', '--format', label, image.tag])
  if (there.code === 0 && there.stdout.trim() === key) return
  await withRootfs(image, image.user ?? '0:0', async (archive) => {
    const changes = [...image.changes, `LABEL tollgate.test.key=${key}`]
    await engine.docker([
      'import',
      ...changes.flatMap((change) => ['--change', change]),
      archive,
      image.tag,
    ])
  })
}

const NODE = join(ROOT, 'node_modules/node/bin/node')
const CA_FILE = '/etc/ssl/certs/ca-certificates.crt'

/** What Dockerfiles of ours start from, by the names that they have there. */
async function nodeImages(): Promise<readonly LocalImage[]> {
  const npm = join(await realpath(findTool('npm') ?? ''), '../..')
  const shell = 'sh chmod chown cp env find ln mkdir mv rm sed test'.split(' ')
  return [
    {
      tag: 'gcr.io/distroless/nodejs24-debian13:nonroot',
      programs: { '/nodejs/bin/node': NODE },
      copies: { [CA_FILE]: CA_FILE },
      owned: ['/home/nonroot'],
      user: '65532:65532',
      changes: ['ENTRYPOINT ["/nodejs/bin/node"]', 'USER 65532', 'WORKDIR /home/nonroot'],
    },
    {
      tag: 'node:24-trixie-slim',
      programs: {
        '/usr/local/bin/node': NODE,
        ...Object.fromEntries(shell.map((name) => [`/bin/${name}`, findTool(name) ?? name])),
        '/usr/bin/env': '/usr/bin/env',
      },
      copies: { [CA_FILE]: CA_FILE, '/usr/local/lib/node_modules/npm': npm },
      files: {
        '/usr/local/bin/npm':
          '#!/usr/bin/env node\nrequire("/usr/local/lib/node_modules/npm/lib/cli.js")(process)\n',
      },
      changes: ['ENV PATH=/usr/local/bin:/usr/bin:/bin', 'CMD ["node"]'],
    },
  ]
}

/** What is built, and of what. Paths are relative to the top folder. */
export interface Build {
  /** Name and tag. */
  readonly tag: string
  readonly dockerfile: string
  /** Files and folders whose content decides whether the image has to be built anew. */
  readonly sources: readonly string[]
  /** Further images that the Dockerfile starts from. */
  readonly bases?: readonly LocalImage[]
  readonly buildArgs?: Readonly<Record<string, string>>
}

/** The gateway's image, from the Dockerfile as it is shipped. */
export const GATEWAY_IMAGE: Build = {
  tag: 'tollgate:latest',
  dockerfile: 'docker/Dockerfile',
  sources: [
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'LICENSE',
    'src',
  ],
}

/**
 * Puts an image into this engine. It is built once for a state of its sources, by an engine that has a
 * way out, with the layers of earlier builds.
 */
export async function buildImage(engine: Engine, build: Build): Promise<void> {
  const key = await keyOfFiles(
    [build.dockerfile, '.dockerignore', ...build.sources],
    [JSON.stringify(build), process.version],
  )
  const name = `image-${build.tag.replace(/[^a-z0-9]+/g, '-')}-`
  const archive = join(CACHE, `${name}${key}.tar`)
  if (!existsSync(archive)) await makeArchive(build, archive)
  const now = new Date()
  await utimes(archive, now, now)
  await keepNewest(name)
  await engine.docker(['load', '--input', archive])
}

/** Starts the engine that builds, with the bases in it; one at a time on this machine. */
export async function withBuilder(use: (builder: Engine) => Promise<void>): Promise<void> {
  await mkdir(CACHE, { recursive: true })
  const dataRoot = join(CACHE, 'docker-builder')
  await using builder = await startBuilder(dataRoot, `${dataRoot}.lock`)
  for (const image of await nodeImages()) await importImage(builder, image)
  await use(builder)
  await builder.docker(['image', 'prune', '--force'])
  await builder.docker(['builder', 'prune', '--force', '--keep-storage', '4GB'])
}

async function makeArchive(build: Build, archive: string): Promise<void> {
  await withBuilder(async (builder) => {
    // Another test may have built it while this one waited for the lock.
    if (existsSync(archive)) return
    for (const image of build.bases ?? []) await importImage(builder, image)
    await builder.docker(buildCommand(build), { timeoutMs: BUILD_MS, cwd: ROOT })
    await builder.docker(['save', '--output', `${archive}.part`, build.tag])
    await rename(`${archive}.part`, archive)
  })
}

/** `docker build` with a CA of the machine as a secret, where npm needs one. */
export function buildCommand({ tag, dockerfile, buildArgs = {} }: Build, context = '.'): string[] {
  const ca = process.env.NODE_EXTRA_CA_CERTS
  return [
    ...['build', '--network=host', '--progress=plain', '--file', dockerfile, '--tag', tag],
    ...(ca === undefined ? [] : ['--secret', `id=ca,src=${ca}`]),
    ...Object.entries(buildArgs).flatMap(([arg, value]) => ['--build-arg', `${arg}=${value}`]),
    context,
  ]
}

async function keepNewest(name: string): Promise<void> {
  const files = (await readdir(CACHE)).filter((f) => f.startsWith(name) && f.endsWith('.tar'))
  const dated = await Promise.all(
    files.map(async (file) => ({ file, usedMs: (await stat(join(CACHE, file))).mtimeMs })),
  )
  const old = dated.sort((a, b) => b.usedMs - a.usedMs).slice(KEPT)
  for (const { file } of old) await rm(join(CACHE, file), { force: true })
}

async function keyOfParts({ programs = {}, copies = {}, ...rest }: LocalImage): Promise<string> {
  const packing = await readFile(join(ROOT, 'test/support/rootfs.ts'), 'utf8')
  const words = [JSON.stringify({ programs, copies, ...rest }), packing]
  for (const path of [...Object.values(programs), ...Object.values(copies)]) {
    const { size, mtimeMs } = await stat(path)
    words.push(`${path} ${size} ${mtimeMs}`)
  }
  return hashOf(words)
}

async function keyOfFiles(paths: readonly string[], words: readonly string[]): Promise<string> {
  const files: string[] = []
  for (const path of paths) {
    const found = await readdir(join(ROOT, path), { recursive: true, withFileTypes: true }).catch(
      () => undefined,
    )
    if (found === undefined) files.push(join(ROOT, path))
    else files.push(...found.filter((e) => e.isFile()).map((e) => join(e.parentPath, e.name)))
  }
  const parts = await Promise.all(
    files
      .sort()
      .map(async (file) => `${file.slice(ROOT.length)} ${hashOf([await readFile(file)])}`),
  )
  return hashOf([...words, ...parts])
}

function hashOf(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part).update('\0')
  return hash.digest('hex').slice(0, 12)
}
