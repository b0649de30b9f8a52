/** What commands may ask of a running gateway. Part of the composition root. */
import type { AcmeCertificate } from './acme-certificate.ts'
import { type Control, type ControlOptions, openControl } from './admin/control.ts'
import { createCertificateControl } from './certificate-control.ts'
import type { ClientAddresses } from './client-addresses.ts'
import type { Clock } from './pipeline/ports.ts'
import type { Bans } from './stores/bans.ts'
import type { ServerCertificates } from './tls/server-certificates.ts'
import { sourceRows, type TokenSources } from './token-sources.ts'

export interface CommandSocketParts extends Pick<ControlOptions, 'stateDir' | 'restart'> {
  readonly bans: Bans
  /** The ledger as JSON, in pieces. */
  readonly tokenPage: () => Iterable<string>
  readonly tokenPlaces: TokenSources
  /** Undefined with TLS off. */
  readonly certificates: ServerCertificates | undefined
  readonly acme: AcmeCertificate | undefined
  readonly clientAddresses: Pick<ClientAddresses, 'report'>
  readonly clock: Clock
}

/** Listens on the socket of the state directory; throws a `ControlError` where it cannot. */
export function openCommandSocket(parts: CommandSocketParts): Promise<Control> {
  const { stateDir, restart, bans, tokenPage, tokenPlaces, certificates, acme, clock } = parts
  const { clientAddresses } = parts
  return openControl({
    stateDir,
    restart,
    certificates: createCertificateControl(certificates, acme),
    clientAddresses: clientAddresses.report,
    bans: {
      list: () => bans.list(clock.nowMs()),
      add: (address, ms) => bans.add(address, ms, clock.nowMs()),
      lift: (address) => bans.lift(address, clock.nowMs()),
    },
    tokens: {
      page: tokenPage,
      async reload() {
        await tokenPlaces.reload()
        return sourceRows(tokenPlaces.states())
      },
    },
  })
}
