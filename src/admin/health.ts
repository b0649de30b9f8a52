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
  /** When the server certificate expires, as Unix time; undefined with TLS off. */
  certificateNotAfterMs(): number | undefined
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
    tokens(sources.tokensLoaded()),
    certificate(sources.certificateNotAfterMs(), wallMs),
    draining(sources.isDraining()),
  ]
  return { isReady: conditions.every(({ isMet }) => isMet), conditions }
}

function collector(isMet: boolean): Condition {
  const words = isMet ? 'the collector can be reached' : 'the collector cannot be reached'
  return { name: 'collector', isMet, words }
}

function tokens(loaded: number): Condition {
  const count = loaded === 1 ? '1 token is' : `${loaded} tokens are`
  const words = loaded > 0 ? `${count} loaded` : 'no token is loaded, so nobody can be let in'
  return { name: 'tokens', isMet: loaded > 0, words }
}

function certificate(notAfterMs: number | undefined, wallMs: number): Condition {
  if (notAfterMs === undefined)
    return { name: 'certificate', isMet: true, words: 'TLS is off, so no certificate is needed' }
  const isMet = wallMs < notAfterMs
  const verb = isMet ? 'is valid until' : 'expired on'
  const words = `the certificate ${verb} ${new Date(notAfterMs).toISOString()}`
  return { name: 'certificate', isMet, words }
}

function draining(isDraining: boolean): Condition {
  const words = isDraining ? 'the gateway is stopping' : 'the gateway is taking requests'
  return { name: 'not_draining', isMet: !isDraining, words }
}
