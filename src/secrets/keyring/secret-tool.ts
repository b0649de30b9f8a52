/** libsecret's own program, for what the keyring package cannot do: name an item's attributes. */
import { execFile } from 'node:child_process'
import { SourceFault } from '../source-fault.ts'
import { type KeyringItem, keyringFault } from './item.ts'

/** The third attribute of an item that Python's keyring makes. Without it, Python would make a second item beside ours and go on reading the first. */
const PYTHON = 'Python keyring library'

const MISSING =
  "install libsecret's secret-tool (Debian: apt install libsecret-tools), or make the item once with Python: keyring set SERVICE USER"

/** Makes an item as Python's keyring makes it, or replaces one that was made so. @throws {SourceFault} */
export async function storeAsPython(item: KeyringItem, secret: string, timeoutMs: number) {
  const { service, user } = item
  const label = `--label=Password for '${user}' on '${service}'`
  const attributes = ['service', service, 'username', user, 'application', PYTHON]
  await run(item, ['store', label, ...attributes], secret, timeoutMs)
}

/** Removes every item of this service and user, whoever made it. @throws {SourceFault} */
export async function clearItems(item: KeyringItem, timeoutMs: number): Promise<void> {
  await run(item, ['clear', 'service', item.service, 'username', item.user], '', timeoutMs)
}

/** @throws {SourceFault} where the program is missing. */
export async function checkSecretTool(item: KeyringItem, timeoutMs: number): Promise<void> {
  // It has no way to do nothing: its own usage is an error to it.
  await run(item, ['--help'], '', timeoutMs, 'any')
}

/** The secret goes in by standard input: arguments are shown to everybody on the machine. */
function run(
  item: KeyringItem,
  args: readonly string[],
  input: string,
  timeoutMs: number,
  wanted: 'success' | 'any' = 'success',
): Promise<void> {
  return new Promise((resume, fail) => {
    const options = { timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: 65_536 } as const
    const child = execFile('secret-tool', args, options, (error, _, stderr) => {
      const hasEnded = error === null || typeof error.code === 'number'
      if (error === null || (hasEnded && wanted === 'any')) return resume()
      if (error.code === 'ENOENT') {
        const problem = 'a new item cannot be made as Python makes it: secret-tool is missing'
        return fail(
          new SourceFault(item.place, problem, MISSING, { isTemporary: false, cause: error }),
        )
      }
      if (error.killed === true) {
        const problem = `secret-tool ${args[0]} has not ended within ${timeoutMs / 1000} s`
        const advice = 'the keyring may show a window that asks for its password: unlock it'
        return fail(new SourceFault(item.place, problem, advice, { isTemporary: true }))
      }
      const said = stderr.trim() === '' ? `secret-tool ${args[0]}: status ${error.code}` : stderr
      fail(keyringFault(item, new Error(said.trim(), { cause: error })))
    })
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
  })
}
