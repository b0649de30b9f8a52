/**
 * The certificate that comes by ACME. Part of the composition root: joins its keeper with the state
 * directory, the public ports and those who tell of it.
 */
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { CERTIFICATE_FILE } from './acme/attempt.ts'
import { keptFrom } from './acme/certificate-file.ts'
import { HttpChallenger } from './acme/http-challenger.ts'
import { Keeper, type KeeperState, type RenewalAnswer } from './acme/keeper.ts'
import { TlsChallenger } from './acme/tls-challenger.ts'
import type { Config } from './config/config.ts'
import { AcmeNotices } from './observe/acme-notices.ts'
import type { AcmeReadings } from './observe/acme-numbers.ts'
import type { Log } from './observe/log.ts'
import type { Clock } from './pipeline/ports.ts'
import { editFile, readTextFile } from './secrets/file-edit.ts'
import { takeLock } from './secrets/file-lock.ts'

const FOLDER = 'acme'
/** Who renews has the lock for minutes; another comes back later rather than wait for him. */
const LOCK_WAIT_MS = 2000

type AcmeConfig = Pick<
  Config,
  'acme' | 'acmeCa' | 'acmeChallenge' | 'acmeDomains' | 'acmeEmail' | 'acmeHttpListen' | 'stateDir'
>

/** What is told of a certificate to commands. Times as ISO 8601. */
export interface AcmeReport {
  readonly directory: string
  readonly names: readonly string[]
  readonly challenge: string
  readonly isStandIn: boolean
  readonly nextAttempt: string | null
  readonly lastSuccess: string | null
  readonly lastFailure: { readonly at: string; readonly words: string } | null
}

/** The certificate of a running gateway. */
export interface AcmeCertificate {
  /** The challenges that wait on the public ports; undefined where they come by port 80. */
  readonly challenges: TlsChallenger | undefined
  readonly readings: AcmeReadings
  readonly report: AcmeReport
  /** Added to what /readyz says; undefined where all is well. */
  readonly words: string | undefined
  /** Begins. Does not wait for a certificate. */
  start(): Promise<void>
  renew(isForced: boolean): Promise<RenewalAnswer>
  close(): Promise<void>
}

/** Where the certificate by ACME is, with its key. */
export function acmeCertificatePath(stateDir: string): string {
  return join(stateDir, FOLDER, CERTIFICATE_FILE)
}

/** Whether a certificate from a directory is kept there, and not one that stands in. */
export async function hasAcmeCertificate(stateDir: string): Promise<boolean> {
  return keptFrom(await readTextFile(acmeCertificatePath(stateDir))) !== undefined
}

/** Puts a pair there that is served until the directory has issued one, unless one from it is there that has not expired. */
export async function ensureAcmeStandIn(
  stateDir: string,
  makePair: () => Promise<{ readonly certPath: string; readonly keyPath: string }>,
  wallMs: number,
): Promise<void> {
  const path = acmeCertificatePath(stateDir)
  const kept = keptFrom(await readTextFile(path))
  if (kept !== undefined && kept.notAfterMs > wallMs) return
  const { certPath, keyPath } = await makePair()
  const text = await Promise.all([keyPath, certPath].map((file) => readFile(file, 'utf8')))
  await editFile(path, () => text.join(''))
}

/** Undefined where ACME is off. `reload` has the file of the certificate read again. */
export function createAcmeCertificate(
  config: AcmeConfig,
  surroundings: {
    readonly log: Log
    readonly clock: Clock
    readonly version: string
    readonly reload: () => Promise<unknown>
  },
): AcmeCertificate | undefined {
  const { acme: directory, acmeCa, acmeDomains: names, stateDir } = config
  if (directory === undefined) return undefined
  const { log, clock, version, reload } = surroundings
  const { wallMs } = clock
  const host = new URL(directory).host
  const notices = new AcmeNotices({ log, directory: host, names })
  const challenges = config.acmeChallenge === 'tls-alpn-01' ? new TlsChallenger(wallMs) : undefined
  const pathOf = (name: string) => join(stateDir, FOLDER, name)
  const keeper = new Keeper({
    directory,
    names,
    email: config.acmeEmail,
    challenger: challenges ?? new HttpChallenger(config.acmeHttpListen),
    readCa: async () => (acmeCa === undefined ? undefined : await readFile(acmeCa, 'utf8')),
    userAgent: `otlp-tollgate/${version}`,
    files: {
      pathOf,
      read: (name) => readTextFile(pathOf(name)),
      write: (name, text) => editFile(pathOf(name), () => text),
    },
    async lock() {
      const path = pathOf('renewal.lock')
      await takeLock(path, LOCK_WAIT_MS)
      return () => rm(path, { force: true })
    },
    wallMs,
    random: Math.random,
    onEvent: (event) => notices.tell(event),
    onIssued: reload,
  })
  return {
    challenges,
    get readings() {
      const { lastFailure, lastSuccessMs, nextAttemptMs, isStandIn } = keeper.state
      const isLastGood =
        lastFailure !== undefined ? false : lastSuccessMs === undefined ? undefined : true
      return { nextAttemptMs, isStandIn, isLastGood }
    },
    get report() {
      const { isStandIn, nextAttemptMs, lastFailure, lastSuccessMs } = keeper.state
      return {
        directory,
        names,
        challenge: config.acmeChallenge,
        isStandIn,
        nextAttempt: isoOf(nextAttemptMs),
        lastSuccess: isoOf(lastSuccessMs),
        lastFailure: lastFailure
          ? { at: new Date(lastFailure.atMs).toISOString(), words: lastFailure.words }
          : null,
      }
    },
    get words() {
      return readyWords(keeper.state, host)
    },
    async start() {
      await keeper.start()
      if (keeper.state.isStandIn) notices.standsIn()
    },
    renew: (isForced) => keeper.renew(isForced),
    close: () => keeper.close(),
  }
}

function readyWords({ isStandIn, lastFailure }: KeeperState, host: string): string | undefined {
  const failure = lastFailure && `the last attempt failed: ${lastFailure.words}`
  if (!isStandIn) return failure
  const stand = `a development certificate stands in until ${host} has issued one`
  return failure === undefined ? stand : `${stand}; ${failure}`
}

function isoOf(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString()
}
