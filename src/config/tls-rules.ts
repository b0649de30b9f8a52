/** What the options for TLS ask of each other. */
import type { SettingName, Settings } from './options.ts'

/** Finds what contradicts itself. `named` is an option as it was given. */
export function findTlsMistakes(
  settings: Settings,
  named: (name: SettingName) => string,
  add: (name: SettingName, message: string) => void,
): void {
  const { tlsCert, tlsKey, tlsAcmeJson, tlsDomain, tlsClientAuth, tlsClientCa } = settings
  const { tlsClientCrl, tlsClientToken } = settings
  if ((tlsCert.length === 0) !== (tlsKey.length === 0)) {
    const [here, missing] =
      tlsKey.length === 0 ? (['tlsCert', 'tlsKey'] as const) : (['tlsKey', 'tlsCert'] as const)
    add(here, `expected ${named(missing)} as well: a certificate and its key go together`)
  } else if (tlsCert.length !== tlsKey.length) {
    add(
      'tlsKey',
      `${tlsKey.length} for ${tlsCert.length} certificates; expected a key for each file in ${named('tlsCert')}, in the same order`,
    )
  }
  if (tlsAcmeJson !== undefined && tlsCert.length > 0) {
    add(
      'tlsAcmeJson',
      `beside ${named('tlsCert')}; expected one of them: they say where the certificate is`,
    )
  }
  if (tlsAcmeJson !== undefined && tlsDomain.length === 0) {
    add(
      'tlsAcmeJson',
      `expected ${named('tlsDomain')} as well: which of its certificates is the gateway's`,
    )
  }
  if (tlsClientAuth !== 'off' && tlsClientCa === undefined) {
    add(
      'tlsClientAuth',
      `${tlsClientAuth} needs ${named('tlsClientCa')}: the CA that signs client certificates`,
    )
  }
  if (tlsClientAuth === 'off' && tlsClientToken === 'instead') {
    add(
      'tlsClientToken',
      `instead needs ${named('tlsClientAuth')} to be optional or required: no certificate is asked for`,
    )
  }
  if (tlsClientCrl.length > 0 && tlsClientCa === undefined) {
    add('tlsClientCrl', `expected ${named('tlsClientCa')} as well: the CAs that the CRLs are of`)
  }
}

/** Finds what works but is probably not meant, a sentence each. */
export function findTlsWarnings(
  settings: Settings,
  named: (name: SettingName) => string,
): readonly string[] {
  const { tls, tlsCert, tlsAcmeJson, tlsKeyPassphrase, tlsClientCa, tlsClientAuth } = settings
  const hasCertificate = tlsCert.length > 0 || tlsAcmeJson !== undefined
  const warnings: string[] = []
  if (tls === 'off' && (hasCertificate || tlsClientAuth !== 'off')) {
    warnings.push(`${named('tls')} is off: certificates are not used`)
  }
  if (tls === 'on' && tlsClientCa !== undefined && tlsClientAuth === 'off') {
    warnings.push(`${named('tlsClientCa')} is not used while ${named('tlsClientAuth')} is off`)
  }
  if (tlsKeyPassphrase !== undefined && tlsCert.length === 0) {
    warnings.push(`${named('tlsKeyPassphrase')} is not used without ${named('tlsKey')}`)
  }
  return warnings
}
