/**
 * Root file systems for images, made of programs of this machine and the libraries they are linked to.
 * No image can be pulled where the tests run; with these under the names of the official ones, the
 * Dockerfile and the compose file are used as they are shipped.
 */
import { chmod, cp, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { runToEnd } from './child.ts'

export interface RootfsParts {
  /** Path in the image → path of a program on this machine. */
  readonly programs?: Readonly<Record<string, string>>
  /** Path in the image → folder or file of this machine, taken as it is. */
  readonly copies?: Readonly<Record<string, string>>
  /** Path in the image → content; one that begins with #! can be run. */
  readonly files?: Readonly<Record<string, string>>
  /** Folders that belong to the user of the image. */
  readonly owned?: readonly string[]
}

const EVERYWHERE = {
  '/etc/passwd':
    'root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n',
  '/etc/group': 'root:x:0:\nnobody:x:65534:\nnonroot:x:65532:\n',
  '/etc/nsswitch.conf': 'hosts: files dns\n',
} as const

/** Makes the file system, hands out the path of a tar archive of it, and removes both. */
export async function withRootfs<T>(
  { programs = {}, copies = {}, files = {}, owned = [] }: RootfsParts,
  user: string,
  use: (archive: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-rootfs-'))
  const root = join(folder, 'root')
  try {
    for (const [to, from] of Object.entries(programs)) {
      await copyTo(root, to, from)
      for (const library of await librariesOf(from)) await copyTo(root, library, library)
    }
    for (const [to, from] of Object.entries(copies)) await copyTo(root, to, from)
    for (const [to, text] of Object.entries({ ...EVERYWHERE, ...files })) {
      await mkdir(dirname(join(root, to)), { recursive: true })
      await writeFile(join(root, to), text, { mode: text.startsWith('#!') ? 0o755 : 0o644 })
    }
    await mkdir(join(root, 'tmp'), { recursive: true })
    await chmod(join(root, 'tmp'), 0o1777)
    for (const path of owned) await mkdir(join(root, path), { recursive: true })
    const paths = owned.map((path) => join(root, path))
    if (paths.length > 0) await run('chown', [user, ...paths])
    const archive = join(folder, 'root.tar')
    await run('tar', ['-C', root, '-cf', archive, '.'])
    return await use(archive)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function copyTo(root: string, to: string, from: string): Promise<void> {
  await mkdir(dirname(join(root, to)), { recursive: true })
  await cp(await realpath(from), join(root, to), { recursive: true, verbatimSymlinks: true })
}

/** The shared libraries of a program, its loader among them; none where it is linked statically. */
async function librariesOf(program: string): Promise<readonly string[]> {
  const { code, stdout } = await runToEnd('ldd', [program])
  if (code !== 0) return []
  return [...stdout.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(([, path = '']) => path)
}

async function run(program: string, args: readonly string[]): Promise<void> {
  const { code, stderr } = await runToEnd(program, args, { timeoutMs: 120_000 })
  if (code !== 0) throw new Error(`${program}: ${stderr}`)
}
