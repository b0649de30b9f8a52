/** What commands may ask about the certificates of a running gateway. Part of the composition root. */
import type { AcmeCertificate } from './acme-certificate.ts'
import type { CertificateControl } from './admin/control.ts'
import type { ServerCertificates } from './tls/server-certificates.ts'

/** `certificates` undefined: TLS is off. `acme` undefined: they come from files. */
export function createCertificateControl(
  certificates: ServerCertificates | undefined,
  acme: AcmeCertificate | undefined,
): CertificateControl {
  const status = () => ({
    certificates: (certificates?.all ?? []).map(({ facts, file }) => ({
      names: facts.names,
      // Node has none for an empty name, though its types say otherwise.
      issuer: facts.chain[0]?.issuer?.replaceAll('\n', ', ') ?? '',
      notBefore: new Date(facts.notBeforeMs).toISOString(),
      notAfter: new Date(facts.notAfterMs).toISOString(),
      fingerprint: facts.fingerprint,
      file,
    })),
    acme: acme?.report ?? null,
  })
  return {
    status,
    async renew(isForced) {
      if (acme === undefined) {
        const problem =
          'this gateway does not renew its certificate itself (TOLLGATE_ACME is off); it takes what is written to the files of TOLLGATE_TLS_CERT'
        return { problem }
      }
      const answer = await acme.renew(isForced)
      if (answer.kind === 'failed') return { problem: answer.words }
      return { isRenewed: answer.kind === 'renewed', ...status() }
    },
  }
}
