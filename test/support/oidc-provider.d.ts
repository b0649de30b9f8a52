/** As much of the package as the tests use: it comes without types. */
declare module 'oidc-provider' {
  import type { IncomingMessage, ServerResponse } from 'node:http'

  export class Provider {
    constructor(issuer: string, configuration: unknown)
    callback(): (request: IncomingMessage, response: ServerResponse) => void
  }
}
