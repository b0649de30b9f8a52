/** What `tollgate check` says of a certificate that comes by ACME: the one that is kept, or that there is none yet. */
import { acmeCertificatePath, hasAcmeCertificate } from '../acme-certificate.ts'
import type { Config } from '../config/config.ts'
import { type CertificateFinding, lookAtCertificates } from './certificate-check.ts'

/** Looks at the certificates that the gateway would serve. */
export async function lookAtServedCertificates(config: Config): Promise<{
  readonly findings: readonly CertificateFinding[]
  readonly names: readonly string[]
}> {
  const { acme, acmeDomains, acmeChallenge, stateDir } = config
  if (acme === undefined) return await lookAtCertificates(config)
  if (!(await hasAcmeCertificate(stateDir))) {
    const text = `certificate: none by ACME yet; the start asks ${new URL(acme).host} for one for ${acmeDomains.join(', ')} by ${acmeChallenge}`
    return { findings: [{ level: 'note', text }], names: acmeDomains }
  }
  const path = acmeCertificatePath(stateDir)
  return await lookAtCertificates({
    ...config,
    tlsCert: [path],
    tlsKey: [path],
    tlsDomain: [...new Set([...config.tlsDomain, ...acmeDomains])],
  })
}
