/** What `tollgate check` says of the addresses of clients: as the running gateway sees them. */
import { askGateway, NoAnswerError } from './ask-gateway.ts'

/**
 * Asks the gateway that runs with this state directory. Undefined where none runs, where it is of an
 * older version, and where it sees nothing wrong.
 */
export async function lookAtClientAddresses(stateDir: string): Promise<string | undefined> {
  try {
    const { hidden } = await askGateway(stateDir, 'GET', '/client-addresses')
    if (typeof hidden !== 'object' || hidden === null || !('words' in hidden)) return undefined
    return `client addresses: ${String(hidden.words)}`
  } catch (error) {
    // A check is for before the start, too, and may run as another user.
    if (error instanceof NoAnswerError) return undefined
    throw error
  }
}
