/** Other people's programs for the tests. `.ci/tools` installs them; without it such tests are skipped. */
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

/** The top folder of the checkout. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** What `.ci/tools` links to, besides programs. */
const FILES = {
  'python-sender': '.tools/python/bin/python',
  ministack: '.tools/aws/bin/ministack',
  'java-sender': '.tools/java/target/java-sender.jar',
  'java-client': '.tools/java-client/target/java-client.jar',
  'python-provider': '.tools/python-provider/site',
  'java-agent': '.tools/java-agent/opentelemetry-javaagent.jar',
  'java-provider': '.tools/java-provider/target/java-provider.jar',
} as const

/** Path of a program: the one `.ci/tools` built, or else the one on PATH; undefined for neither. */
export function findTool(name: string): string | undefined {
  const known: Readonly<Record<string, string>> = FILES
  const file = known[name]
  if (file !== undefined) {
    const path = join(ROOT, file)
    return existsSync(path) ? path : undefined
  }
  const folders = [
    join(ROOT, '.tools/bin'),
    ...(process.env.PATH ?? '').split(delimiter),
    '/usr/sbin',
  ]
  return folders.map((folder) => join(folder, name)).find(isProgram)
}

/** Path of a program that a test has asked for with `hasTools` before. */
export function tool(name: string): string {
  const path = findTool(name)
  if (path === undefined) throw new Error(`${name} is not installed: run .ci/tools`)
  return path
}

/**
 * Whether all these programs are there. If not, the test is skipped, or fails where CI=true: there a
 * missing program is a mistake of the set-up.
 */
export function hasTools(t: TestContext, ...names: string[]): boolean {
  const missing = names.filter((name) => findTool(name) === undefined)
  if (missing.length === 0) return true
  const why = `${missing.join(', ')} not installed: run .ci/tools`
  if (process.env.CI === 'true') throw new Error(why)
  t.skip(`SKIP: ${why}`)
  return false
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
