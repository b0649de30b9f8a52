/** `tollgate` as a process that runs to its end. */
import { join } from 'node:path'
import { runToEnd } from './child.ts'
import { ROOT } from './tools.ts'

/** Free ports of 127.0.0.1. */
export const FREE_PORTS = {
  TOLLGATE_GRPC_LISTEN: '127.0.0.1:0',
  TOLLGATE_HTTP_LISTEN: '127.0.0.1:0',
  TOLLGATE_ADMIN_LISTEN: '127.0.0.1:0',
} as const

/** Runs a command with these variables and none else of Tollgate's. */
export function runTollgate(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): ReturnType<typeof runToEnd> {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith('TOLLGATE_'))
  return runToEnd(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', join(ROOT, 'src/main.ts'), ...args],
    { env: { ...Object.fromEntries(others), ...env }, timeoutMs: 20_000 },
  )
}
