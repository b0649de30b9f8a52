import type { CommandIo } from './io.ts'
import { mistakeOf } from './mistake.ts'

type Command = (argv: readonly string[], io: CommandIo) => Promise<number>

const EXIT_USAGE = 64
const EXIT_SOFTWARE = 70

/** The commands. Each is loaded when it is asked for. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import('./serve.ts')).runServe,
  'serve-child': async () => (await import('./serve-child.ts')).runServeChild,
  check: async () => (await import('./check.ts')).runCheck,
  token: async () => (await import('./token.ts')).runTokenCommand,
  cert: async () => (await import('./cert.ts')).runCertCommand,
  bans: async () => (await import('./bans.ts')).runBansCommand,
  restart: async () => (await import('./restart.ts')).runRestart,
  rotate: async () => (await import('./rotate.ts')).runRotate,
  headers: async () => (await import('./headers.ts')).runHeaders,
  healthcheck: async () => (await import('./healthcheck.ts')).runHealthcheck,
  help: async () => (await import('./help.ts')).runHelp,
  version: async () => (await import('./version.ts')).runVersion,
}

/** What the program itself starts, and nobody types. */
const INTERNAL = new Set(['serve-child'])

/** Commands that explain themselves. */
const WITH_OWN_HELP = new Set(['token', 'cert', 'bans', 'rotate', 'headers'])

/**
 * Runs the command line (without node and script) and resolves with the exit code. The operator's
 * mistakes are told on stderr in words; a bug is told with its stack and exit code 70. Never rejects.
 */
export async function dispatch(argv: readonly string[], io: CommandIo): Promise<number> {
  const { name, rest } = split(argv)
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (load === undefined) {
    const { nearest } = await import('../config/nearest.ts')
    const names = Object.keys(COMMANDS).filter((known) => !INTERNAL.has(known))
    const near = nearest(name, names)
    const hint = near === undefined ? 'see tollgate help' : `did you mean ${near}?`
    io.stderr.write(`tollgate: unknown command ${JSON.stringify(name)}; ${hint}\n`)
    return EXIT_USAGE
  }
  try {
    const command = await load()
    return await command(rest, io)
  } catch (error) {
    const mistake = mistakeOf(error)
    if (mistake === undefined) {
      const shown = error instanceof Error ? (error.stack ?? error.message) : String(error)
      io.stderr.write(`tollgate: this is a bug, please report it\n${shown}\n`)
      return EXIT_SOFTWARE
    }
    for (const line of mistake.lines) io.stderr.write(`tollgate: ${line}\n`)
    return mistake.exitCode
  }
}

/** Which command is meant, and what is for it. Options without a command are for `serve`. */
function split(argv: readonly string[]): { name: string; rest: readonly string[] } {
  const [first = '', second] = argv
  if (first === '--version' || first === '-v' || first === '-V')
    return { name: 'version', rest: [] }
  const isNamed = first !== '' && !first.startsWith('-')
  const name = isNamed ? first : 'serve'
  const rest = isNamed ? argv.slice(1) : argv
  if (name === 'help' && second !== undefined && WITH_OWN_HELP.has(second)) {
    return { name: second, rest: ['--help'] }
  }
  const asksForHelp = rest.includes('--help') || rest.includes('-h')
  if (asksForHelp && Object.hasOwn(COMMANDS, name) && !WITH_OWN_HELP.has(name)) {
    return { name: 'help', rest: [] }
  }
  return { name, rest }
}
