/** A certificate as a client sees it: a handshake within the process, and what the client says then. */
import { duplexPair } from 'node:stream'
import {
  connect,
  createSecureContext,
  getCACertificates,
  rootCertificates,
  TLSSocket,
} from 'node:tls'
import type { ServerCredentials } from './credentials.ts'
import { TLS_SETTINGS } from './settings.ts'

/** What a client finds. */
export interface ClientView {
  /** OpenSSL's word for what is wrong, as `CERT_HAS_EXPIRED`; undefined where nothing is. */
  readonly problem: string | undefined
}

/** CAs that this machine's programs trust: its own, Node.js's, and those of NODE_EXTRA_CA_CERTS. */
export function systemCas(): readonly string[] {
  return [
    ...new Set([
      ...rootCertificates,
      ...getCACertificates('system'),
      ...getCACertificates('extra'),
    ]),
  ]
}

/**
 * Shakes hands with a client that calls the server by `serverName` and trusts these CAs, without a
 * network. Rejects where there is no handshake at all.
 */
export async function viewOfClient(
  { secrets }: ServerCredentials,
  serverName: string,
  cas: readonly string[],
): Promise<ClientView> {
  const [ours, theirs] = duplexPair()
  const { cert, key } = secrets
  const server = new TLSSocket(ours as never, {
    isServer: true,
    secureContext: createSecureContext({ ...TLS_SETTINGS, cert, key }),
  })
  const client = connect({
    socket: theirs,
    servername: serverName,
    ca: [...cas],
    rejectUnauthorized: false,
  })
  try {
    await new Promise<void>((resolve, reject) => {
      server.on('error', reject)
      client.on('error', reject)
      client.on('secureConnect', resolve)
    })
    const said = client.authorized ? undefined : client.authorizationError
    return { problem: said === undefined ? undefined : codeOf(said) }
  } finally {
    client.destroy()
    server.destroy()
  }
}

/** Node gives a code or an error with one, by what was wrong. */
function codeOf(said: Error | string): string {
  if (typeof said === 'string') return said
  return (said as NodeJS.ErrnoException).code ?? said.message
}
