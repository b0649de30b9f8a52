/**
 * Tells whether the process that left something behind still runs, beyond doubt: by its id, its
 * start and the machine, as process ids are given away again.
 */
import { readFile, readlink } from 'node:fs/promises'
import { hostname } from 'node:os'

/** `<process id>-<start>-<machine>`: letters, digits and `-`, so that it can stand in a file's name. */
export const MARK = /(\d+)-(\d+|x)-([0-9a-z]+)/

let own: Promise<string> | undefined

/** The mark of this process. */
export function ownMark(): Promise<string> {
  own ??= (async () =>
    `${process.pid}-${(await startOf(process.pid)) ?? 'x'}-${await thisMachine()}`)()
  return own
}

/** Whether a process still runs. `unknown` for one elsewhere, and where the system does not tell starts. */
export async function stateOfMark(mark: string): Promise<'running' | 'ended' | 'unknown'> {
  const [, pid = '', start = '', machine = ''] = MARK.exec(mark) ?? []
  if (pid === '' || machine !== (await thisMachine())) return 'unknown'
  if (!isThere(Number(pid))) return 'ended'
  const now = await startOf(Number(pid))
  if (now === undefined || start === 'x') return 'unknown'
  return now === start ? 'running' : 'ended'
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/** Where process ids mean the same: one boot, and on Linux one namespace of processes. */
async function thisMachine(): Promise<string> {
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8')
    const namespace = await readlink('/proc/self/ns/pid')
    return plain(`${boot}${namespace}`)
  } catch {
    return plain(hostname()) || 'host'
  }
}

/** In ticks since the boot; undefined where the system does not say. */
async function startOf(pid: number): Promise<string | undefined> {
  const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  // The second field is a name in parentheses that may hold anything.
  const fields = line?.slice(line.lastIndexOf(')') + 2).split(' ')
  // A zombie runs no more.
  return fields?.[0] === 'Z' ? 'ended' : fields?.[19]
}

function plain(text: string): string {
  return text.toLowerCase().replace(/[^0-9a-z]/g, '')
}
