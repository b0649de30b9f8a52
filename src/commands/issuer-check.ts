/** What `tollgate check` says of the issuers of JWTs: whether their keys can be read. */
import type { Config } from '../config/config.ts'
import { Documents } from '../oidc/documents.ts'
import { Issuer } from '../oidc/issuer.ts'

const CLOCK = { nowMs: () => performance.now(), wallMs: () => Date.now() }

/** How one issuer stands. */
export interface IssuerLook {
  readonly isGood: boolean
  readonly words: string
}

/** Reads the keys of every issuer once, as `serve` would. Never rejects. */
export async function lookAtIssuers({
  jwtIssuers,
  jwtJwks,
}: Pick<Config, 'jwtIssuers' | 'jwtJwks'>): Promise<readonly IssuerLook[]> {
  const documents = new Documents()
  const looks = jwtIssuers.map(async (url): Promise<IssuerLook> => {
    let problem: string | undefined
    const issuer = new Issuer({
      url,
      jwksUrl: jwtJwks.find((at) => at.issuer === url)?.url,
      fetch: (at) => documents.fetch(at),
      clock: CLOCK,
      onRead: (told) => {
        problem = told
      },
    })
    issuer.start()
    await issuer.reading
    issuer.close()
    const { keys } = issuer
    if (keys === undefined) return { isGood: false, words: `issuer ${url}: ${problem}` }
    const count = keys.size === 1 ? 'one key' : `${keys.size} keys`
    return { isGood: true, words: `issuer ${url}: ${count}` }
  })
  try {
    return await Promise.all(looks)
  } finally {
    await documents.close()
  }
}
