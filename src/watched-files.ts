/**
 * The certificate, which the gateway reads again while it runs. Part of the composition root: joins
 * the files with what they are put into, and tells what became of them.
 */
import type { Config } from './config/config.ts'
import type { Notices } from './observe/notices.ts'
import { FileWatch } from './secrets/file-watch.ts'
import { ServerCertificate } from './tls/server-certificate.ts'

const DEBOUNCE_MS = 100
/** How often files are looked at where the file system tells of no changes. */
const POLL_MS = 5000

/** Something read from files. */
export interface Watched {
  /** Whether the last read was good. */
  readonly isGood: boolean
  /** When the last good read was, as Unix time; undefined before the first. */
  readonly lastGoodMs: number | undefined
  /** Reads now. */
  reload(): Promise<unknown>
  close(): void
}

/** The certificate of the public ports, followed to its files. `onSwap` is called when a new pair is in use. */
export async function openCertificate(
  config: Pick<Config, 'tlsClientAuth' | 'tlsClientCa'> & { tlsCert: string; tlsKey: string },
  notices: Notices,
  onSwap: (certificate: ServerCertificate) => void,
): Promise<{ readonly current: ServerCertificate; readonly state: Watched }> {
  let isGood = true
  let lastGoodMs = Date.now()
  const current = await ServerCertificate.open({
    certPath: config.tlsCert,
    keyPath: config.tlsKey,
    clientCaPath: config.tlsClientCa,
    clientAuth: config.tlsClientAuth,
    watch: (path, onChange) =>
      new FileWatch({ path, debounceMs: DEBOUNCE_MS, pollMs: POLL_MS, onChange }),
    onEvent: (event) => {
      isGood = event.kind === 'swapped'
      if (event.kind === 'kept') {
        notices.certificateKept(config.tlsCert, event.error.message, event.notAfterMs)
        return
      }
      lastGoodMs = Date.now()
      notices.certificateLoaded(event.facts.names, event.facts.notAfterMs)
      onSwap(current)
    },
  })
  notices.certificateLoaded(current.facts.names, current.notAfterMs)
  return {
    current,
    state: {
      get isGood() {
        return isGood
      },
      get lastGoodMs() {
        return lastGoodMs
      },
      reload: () => current.reload(),
      close: () => current.close(),
    },
  }
}
