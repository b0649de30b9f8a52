/**
 * One item of the operating system's keyring, under the service and user that Python's `keyring`
 * knows it by: Secret Service on Linux, the keychain on macOS, credentials on Windows.
 */
import { SourceFault } from '../source-fault.ts'

/** What is used of `@napi-rs/keyring`, which is installed on agents' machines only. */
interface KeyringEntry {
  getPassword(): Promise<string | null>
  setPassword(password: string): Promise<void>
}

export interface KeyringItem {
  /** `keyring:service/user`, as messages name it. */
  readonly place: string
  readonly service: string
  readonly user: string
}

/** What a keyring said, told apart by what there is to do. */
export type KeyringFlaw = 'ambiguous' | 'locked' | 'no_bus' | 'no_service' | 'other'

/**
 * What stands for the item in the keyring of this platform.
 *
 * On Linux the Secret Service is asked for by name: without it the package would fall back to the
 * kernel's keyring, which forgets everything at a reboot and which Python does not read. On Windows
 * the target is the service alone, as Python's keyring names it; that has not been tried on Windows.
 *
 * @throws {SourceFault} in words, where the package or the keyring is missing.
 */
export async function openItem(item: KeyringItem): Promise<KeyringEntry> {
  const { service, user } = item
  let keyring: typeof import('@napi-rs/keyring')
  try {
    keyring = await import('@napi-rs/keyring')
  } catch (cause) {
    throw new SourceFault(
      item.place,
      'the package that reaches the keyring is not installed on this machine',
      'npm install @napi-rs/keyring beside otlp-tollgate; it is optional, and not in the container image',
      { isTemporary: false, cause },
    )
  }
  try {
    return process.platform === 'win32'
      ? keyring.AsyncEntry.withTarget(service, service, user)
      : new keyring.AsyncEntry(service, user, { linux: { store: 'secret-service' } })
  } catch (error) {
    throw keyringFault(item, error)
  }
}

/**
 * Gives up on a keyring that does not answer: on a desktop that is locked, it waits for somebody to
 * type a password. @throws {SourceFault} in words.
 */
export async function answered<T>(
  item: KeyringItem,
  timeoutMs: number,
  answer: Promise<T>,
): Promise<T> {
  let limit: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, fail) => {
    limit = setTimeout(() => {
      const problem = `the keyring has not answered within ${timeoutMs / 1000} s`
      const advice = 'it may show a window that asks for its password: unlock it and try again'
      fail(new SourceFault(item.place, problem, advice, { isTemporary: true }))
    }, timeoutMs)
  })
  try {
    return await Promise.race([answer, late])
  } catch (error) {
    throw error instanceof SourceFault ? error : keyringFault(item, error)
  } finally {
    clearTimeout(limit)
  }
}

/** Which flaw an error of the package or of `secret-tool` tells of. */
export function flawOf(error: unknown): KeyringFlaw {
  const message = error instanceof Error ? error.message : String(error)
  if (/matched by \d+ credentials/.test(message)) return 'ambiguous'
  if (/prompt was dismissed|\blocked\b/i.test(message)) return 'locked'
  if (/did not receive a reply/i.test(message)) return 'other'
  if (/not provided by any \.service|ServiceUnknown|no such interface/i.test(message)) {
    return 'no_service'
  }
  if (/DBUS_SESSION_BUS_ADDRESS|autolaunch|connect to socket|D-?Bus|AccessDenied/i.test(message)) {
    return 'no_bus'
  }
  return 'other'
}

/** The error in words for the person who can put it right. Keyrings do not put secrets into errors. */
export function keyringFault(item: KeyringItem, cause: unknown): SourceFault {
  const { service, user, place } = item
  const fault = (problem: string, advice: string, isTemporary: boolean) =>
    new SourceFault(place, problem, advice, { isTemporary, cause })
  const headless = 'on a machine without a desktop deliver to a file instead (file:PATH)'
  switch (flawOf(cause)) {
    case 'ambiguous':
      return fault(
        `the keyring holds several items for ${service}/${user}`,
        `a delivery makes them one; by hand: secret-tool clear service '${service}' username '${user}', and deliver again`,
        false,
      )
    case 'locked':
      return fault(
        'the keyring is locked',
        `log in to the desktop or unlock it and try again; ${headless}`,
        true,
      )
    case 'no_bus':
      return fault(
        'there is no session bus to reach a keyring by',
        `run this as the agent's user within its desktop session (DBUS_SESSION_BUS_ADDRESS); ${headless}`,
        false,
      )
    case 'no_service':
      return fault(
        'no program offers a keyring in this session',
        `install and start gnome-keyring, KWallet or KeePassXC; ${headless}`,
        false,
      )
    case 'other': {
      const message = cause instanceof Error ? cause.message : String(cause)
      return fault(
        `the keyring answered: ${message.slice(0, 300)}`,
        'see whether other programs can use it',
        false,
      )
    }
  }
}
