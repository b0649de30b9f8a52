/**
 * The certificates, which the gateway reads again while it runs. Part of the composition root: joins
 * the files with what they are put into, and tells what became of them.
 */
import type { Config } from './config/config.ts'
import type { CertificateReadings } from './observe/certificates.ts'
import type { Notices } from './observe/notices.ts'
import { FileWatch } from './secrets/file-watch.ts'
import type { CertificateFacts } from './tls/credentials.ts'
import { isFor, wrongHost } from './tls/names.ts'
import { type PairSettings, pairPlacesOf } from './tls/pair-place.ts'
import { ServerCertificates } from './tls/server-certificates.ts'

const DEBOUNCE_MS = 100
/** How often files are looked at where the file system tells of no changes. */
const POLL_MS = 5000

/**
 * The certificates of the public ports, followed to their files. `onSwap` is called when a new one is
 * in use. Rejects with a `CertificateError` where one cannot be used.
 */
export async function openCertificates(
  config: PairSettings & Pick<Config, 'tlsClientAuth' | 'tlsClientCa' | 'tlsClientCrl'>,
  notices: Notices,
  onSwap: (certificates: ServerCertificates) => void,
): Promise<ServerCertificates> {
  const tell = ({ names, notAfterMs, warnings }: CertificateFacts) => {
    notices.certificateLoaded(names, notAfterMs)
    for (const warning of warnings) notices.certificateWarning(warning)
  }
  const certificates = await ServerCertificates.open({
    places: pairPlacesOf(config),
    clientCaPath: config.tlsClientCa,
    clientCrlPaths: config.tlsClientCrl,
    clientAuth: config.tlsClientAuth,
    watch: (path, onChange) =>
      new FileWatch({ path, debounceMs: DEBOUNCE_MS, pollMs: POLL_MS, onChange }),
    onEvent: (event, file) => {
      if (event.kind === 'kept') {
        notices.certificateKept(file, event.error.message, event.notAfterMs)
      } else if (event.kind === 'expired') {
        notices.certificateExpired(file, event.facts.notAfterMs)
      } else {
        tell(event.facts)
        onSwap(certificates)
      }
    },
  })
  for (const { facts } of certificates.all) tell(facts)
  for (const domain of config.tlsDomain) {
    if (certificates.all.some(({ facts }) => facts.chain[0] && isFor(facts.chain[0], domain)))
      continue
    const names = certificates.all.flatMap(({ facts }) => facts.names)
    const [file = ''] = certificates.all.map((certificate) => certificate.file)
    notices.certificateWarning(wrongHost(domain, file, names))
  }
  return certificates
}

/** What the metrics show of the certificates. */
export function certificateReading(certificates: ServerCertificates): CertificateReadings {
  const { all, isGood, reloads } = certificates
  return {
    isGood,
    reloads,
    all: all.map(({ facts }) => ({
      role: 'server',
      subject: facts.subject,
      notAfterMs: facts.notAfterMs,
    })),
  }
}
