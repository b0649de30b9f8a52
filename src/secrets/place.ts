/** How a place that holds tokens is written: `file:/run/tokens.json`, `vault:secret/otel/tokens#token`. */

/** Kinds of places: where token sets come from, and where tokens are delivered to. */
export const SCHEMES = ['file', 'env', 'vault', 'aws', 'keyring', 'dokploy', 'exec'] as const
export type Scheme = (typeof SCHEMES)[number]

export interface Place {
  readonly scheme: Scheme
  /** What stands between the colon and the `#`: a path, the name of a secret, service/user. Empty for `env`. */
  readonly path: string
  /** What stands behind the `#`: one field of many, such as a variable. */
  readonly field: string | undefined
  /** As it was written; never a secret. Names the place in messages, journals and metrics. */
  readonly text: string
}

/** Reads a place; undefined where it is not one of a known kind, or lacks its path. */
export function parsePlace(text: string): Place | undefined {
  const match = /^([a-z]+)(?::([^#]*)(?:#(.+))?)?$/.exec(text)
  const scheme = SCHEMES.find((name) => name === match?.[1])
  const path = match?.[2] ?? ''
  if (scheme === undefined || (path === '') !== (scheme === 'env')) return undefined
  return { scheme, path, field: match?.[3], text }
}
