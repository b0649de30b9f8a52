/** Other people's programs: where they are, how to get them, and running them within limits. */
import { runToEnd } from '../../test/support/child.ts'
import { findTool, ROOT } from '../../test/support/tools.ts'

/** Programs that checks use, and how each is installed on Debian or with Go. */
export const INSTALL = {
  docker: 'apt-get install docker.io, or as docs.docker.com says',
  ghz: 'go install github.com/bojand/ghz/cmd/ghz@v0.93.0',
  nmap: 'apt-get install nmap',
  openssl: 'apt-get install openssl',
  otelcol: '.ci/tools collector',
  prometheus: 'apt-get install prometheus',
  siege: 'apt-get install siege',
  testssl: 'apt-get install testssl.sh, or .ci/tools testssl for one that gives grades',
} as const

export type Program = keyof typeof INSTALL

/** Programs that are not there, each with the command that installs it. Empty: all are. */
export function missingPrograms(programs: readonly Program[]): readonly string[] {
  return programs
    .filter((program) => findTool(program) === undefined)
    .map((program) => `${program} is not installed (${INSTALL[program]})`)
}

/** What a program said until it ended. */
export interface Said {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end, in the top folder of the repository unless told otherwise. Throws where it is not there, or takes longer than `timeoutMs`. */
export async function run(
  program: Program,
  args: readonly string[],
  options: {
    readonly timeoutMs: number
    readonly env?: Readonly<Record<string, string>>
    readonly cwd?: string
  },
): Promise<Said> {
  const path = findTool(program)
  if (path === undefined) throw new Error(`${program} is not installed: ${INSTALL[program]}`)
  return await runToEnd(path, args, {
    cwd: options.cwd ?? ROOT,
    timeoutMs: options.timeoutMs,
    env: { ...process.env, ...options.env },
  })
}

/** A command line that can be pasted into a shell. */
export function commandLine(program: string, args: readonly string[]): string {
  return [program, ...args]
    .map((word) =>
      /^[\w@%+=:,./$[\]-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`,
    )
    .join(' ')
}
