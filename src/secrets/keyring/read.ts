/** Reads a token from the keyring, for what runs on the agent's machine. */
import { answered, type KeyringItem, openItem } from './item.ts'

/** A person may have to type a password first. */
const READ_TIMEOUT_MS = 60_000

/**
 * The secret that the keyring holds under a service and a user, whoever wrote it: this program or
 * Python's `keyring`. Undefined where there is none. Waits a minute by default.
 *
 * @throws {SourceFault} in words: locked, no keyring in this session, package not installed.
 */
export async function readKeyring(
  service: string,
  user: string,
  timeoutMs: number = READ_TIMEOUT_MS,
): Promise<string | undefined> {
  const item: KeyringItem = { place: `keyring:${service}/${user}`, service, user }
  const entry = await openItem(item)
  return (await answered(item, timeoutMs, entry.getPassword())) ?? undefined
}
