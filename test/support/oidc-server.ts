/** A real OpenID Connect provider (the package oidc-provider) that gives JWTs for client credentials. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  request as requestHttp,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { Provider } from 'oidc-provider'
import { ALGORITHM, type SigningKey } from './signing.ts'

/** What its JWTs are for. */
export const AUDIENCE = 'tollgate'
/** The same, as clients ask for it (RFC 8707). */
const RESOURCE = 'https://tollgate.example'
const SECRET = 'a-secret-of-the-tests-0123456789abcdef'
const SCOPES = 'otlp:traces otlp:metrics otlp:logs'

/** Clients that may ask for a token: their id is its subject. */
const CLIENTS = ['shop', 'robot', 'laptop']

export interface TokenRequest {
  /** Default: no scope. */
  readonly scope?: string
}

/** A running provider. */
export interface OidcServer {
  readonly issuer: string
  /** Paths that were asked for, oldest first. */
  readonly asked: readonly string[]
  /** Asks for a JWT as an agent does: OAuth 2.0 client credentials over HTTP. */
  token(client: string, request?: TokenRequest): Promise<string>
  /** Signs with the first of these from now on, and publishes all of them. */
  rotate(...keys: SigningKey[]): void
  /** Lets go of its port. */
  goAway(): Promise<void>
  /** Takes it again. */
  comeBack(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Starts a provider on a free port of 127.0.0.1. Its JWTs live for `lifeSeconds`, by default 300. */
export async function startOidcServer(
  keys: readonly SigningKey[],
  { lifeSeconds = 300 }: { readonly lifeSeconds?: number } = {},
): Promise<OidcServer> {
  const asked: string[] = []
  let handle: (request: IncomingMessage, response: ServerResponse) => void = () => {}
  let server: Server | undefined
  const listen = async (port: number) => {
    const next = createServer((request, response) => {
      asked.push(request.url ?? '')
      handle(request, response)
    })
    next.listen(port, '127.0.0.1')
    await once(next, 'listening')
    server = next
    return (next.address() as AddressInfo).port
  }
  const port = await listen(0)
  const issuer = `http://127.0.0.1:${port}`
  const rotate = (...next: readonly SigningKey[]) => {
    handle = providerOf(issuer, next, lifeSeconds).callback()
  }
  rotate(...keys)
  const goAway = async () => {
    const leaving = server
    server = undefined
    if (leaving === undefined) return
    leaving.close()
    leaving.closeAllConnections()
    await once(leaving, 'close')
  }
  return {
    issuer,
    asked,
    rotate,
    token: (client, request = {}) => fetchToken(issuer, client, request),
    goAway,
    comeBack: async () => {
      await listen(port)
    },
    [Symbol.asyncDispose]: goAway,
  }
}

function providerOf(issuer: string, keys: readonly SigningKey[], lifeSeconds: number): Provider {
  const [first] = keys
  assert.ok(first !== undefined, 'a provider needs a key')
  return new Provider(issuer, {
    clients: CLIENTS.map((client) => ({
      client_id: client,
      client_secret: SECRET,
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
      id_token_signed_response_alg: ALGORITHM,
      scope: SCOPES,
    })),
    jwks: { keys: keys.map(({ privateJwk }) => privateJwk) },
    scopes: SCOPES.split(' '),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          audience: AUDIENCE,
          scope: SCOPES,
          accessTokenFormat: 'jwt',
          accessTokenTTL: lifeSeconds,
          jwt: { sign: { alg: ALGORITHM, kid: first.kid } },
        }),
      },
    },
  })
}

async function fetchToken(issuer: string, client: string, { scope }: TokenRequest) {
  const form = new URLSearchParams({ grant_type: 'client_credentials', resource: RESOURCE })
  if (scope !== undefined) form.set('scope', scope)
  const request = requestHttp(`${issuer}/token`, {
    method: 'POST',
    agent: false,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    auth: `${client}:${SECRET}`,
  })
  request.end(form.toString())
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of response) text += String(chunk)
  assert.equal(response.statusCode, 200, text)
  const { access_token: token } = JSON.parse(text) as { access_token: unknown }
  assert.ok(typeof token === 'string')
  return token
}
