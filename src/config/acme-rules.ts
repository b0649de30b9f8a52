/** What the options for ACME ask of each other, and of those for TLS. */
import type { SettingName, Settings } from './options.ts'

/** Finds what contradicts itself. `named` is an option as it was given. */
export function findAcmeMistakes(
  settings: Settings,
  named: (name: SettingName) => string,
  add: (name: SettingName, message: string) => void,
): void {
  const { acme, acmeDomains, acmeTerms, acmeEmail, acmeCa, tls, tlsCert, tlsAcmeJson } = settings
  if (acme === undefined) {
    const given = {
      acmeDomains: acmeDomains.length > 0,
      acmeTerms: acmeTerms !== undefined,
      acmeEmail: acmeEmail !== undefined,
      acmeCa: acmeCa !== undefined,
    }
    for (const [name, isGiven] of Object.entries(given))
      if (isGiven)
        add(
          name as keyof typeof given,
          `${named('acme')} is off; expected letsencrypt-staging or letsencrypt there as well`,
        )
    return
  }
  if (tls === 'off') {
    add(
      'acme',
      `${named('tls')} is off, and nobody would use the certificate; expected one or the other`,
    )
  }
  if (tlsCert.length > 0) {
    add(
      'acme',
      `beside ${named('tlsCert')}; expected one of them: they say where the certificate is from`,
    )
  }
  if (tlsAcmeJson !== undefined) {
    add('acme', `beside ${named('tlsAcmeJson')}; expected one of them: Traefik renews that one`)
  }
  if (acmeDomains.length === 0) {
    add(
      'acme',
      `expected ${named('acmeDomains')} as well: the names by which agents call the gateway`,
    )
  }
  if (acmeTerms === undefined) {
    const { hostname } = new URL(acme)
    const where = hostname.endsWith('.letsencrypt.org')
      ? 'https://letsencrypt.org/repository/'
      : `what ${hostname} names as termsOfService in its directory`
    add(
      'acme',
      `expected ${named('acmeTerms')}=agreed as well: it says that you agree to the terms of those who issue the certificate (${where})`,
    )
  }
}
