/** Whether the gateway can do its work, condition by condition, in words. */

/** One thing that must be so. */
export interface Condition {
  readonly name: 'collector' | 'tokens' | 'certificate' | 'not_draining'
  readonly isMet: boolean
  /** What is so, or what is not. Never a secret. */
  readonly words: string
}

/** What is known of the parts, asked at each look. */
export interface HealthSources {
  isCollectorUp(): boolean
  /** Tokens in the loaded set. */
  tokensLoaded(): number
  /** Places that tokens come from, and what is wrong with them. Default none. */
  tokenSources?(): readonly { readonly place: string; readonly problem: string | undefined }[]
  /** Issuers of JWTs whose keys are there. Default none. */
  issuersKnown?(): number
  /** When the server certificate expires, as Unix time; undefined with TLS off. */
  certificateNotAfterMs(): number | undefined
  /** When it begins to be valid. Default: it is. */
  certificateNotBeforeMs?(): number | undefined
  /** What else there is to say of it, such as that another one is awaited. */
  certificateWords?(): string | undefined
  isDraining(): boolean
}

/** The answer of /readyz. */
export interface Readiness {
  readonly isReady: boolean
  readonly conditions: readonly Condition[]
}

/** Looks at every condition. */
export function readiness(sources: HealthSources, wallMs: number): Readiness {
  const conditions = [
    collector(sources.isCollectorUp()),
    tokens(sources.tokensLoaded(), sources.issuersKnown?.() ?? 0, sources.tokenSources?.() ?? []),
    certificate(
      sources.certificateNotAfterMs(),
      sources.certificateNotBeforeMs?.() ?? Number.NEGATIVE_INFINITY,
      sources.certificateWords?.(),
      wallMs,
    ),
    draining(sources.isDraining()),
  ]
  return { isReady: conditions.every(({ isMet }) => isMet), conditions }
}

function collector(isMet: boolean): Condition {
  const words = isMet ? 'the collector can be reached' : 'the collector cannot be reached'
  return { name: 'collector', isMet, words }
}

function tokens(
  loaded: number,
  issuers: number,
  places: readonly { readonly place: string; readonly problem: string | undefined }[],
): Condition {
  const count = loaded === 1 ? '1 token is' : `${loaded} tokens are`
  const isMet = loaded > 0 || issuers > 0
  const known =
    issuers === 1 ? 'one issuer of JWTs is known' : `${issuers} issuers of JWTs are known`
  const words = isMet ? `${count} loaded` : 'no token is loaded, so nobody can be let in'
  const troubles = places.flatMap(({ place, problem }) => {
    const [first = ''] = problem?.split('\n') ?? []
    if (first === '') return []
    return first.startsWith(`${place}: `) ? first : `${place}: ${first}`
  })
  const jwts = issuers > 0 ? [known] : []
  return { name: 'tokens', isMet, words: [words, ...jwts, ...troubles].join('; ') }
}

function certificate(
  notAfterMs: number | undefined,
  notBeforeMs: number,
  more: string | undefined,
  wallMs: number,
): Condition {
  if (notAfterMs === undefined)
    return { name: 'certificate', isMet: true, words: 'TLS is off, so no certificate is needed' }
  if (wallMs < notBeforeMs) {
    const words = `the certificate is not valid before ${new Date(notBeforeMs).toISOString()}`
    return { name: 'certificate', isMet: false, words }
  }
  const isMet = wallMs < notAfterMs
  const verb = isMet ? 'is valid until' : 'expired on'
  const words = `the certificate ${verb} ${new Date(notAfterMs).toISOString()}`
  return { name: 'certificate', isMet, words: more === undefined ? words : `${words}; ${more}` }
}

function draining(isDraining: boolean): Condition {
  const words = isDraining ? 'the gateway is stopping' : 'the gateway is taking requests'
  return { name: 'not_draining', isMet: !isDraining, words }
}
