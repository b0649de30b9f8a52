/** One attempt at a certificate, from the account to the file. */
import { accountOf, accountsFrom, accountsText, entryFor } from './account-file.ts'
import { AcmeFault } from './acme-fault.ts'
import { assertOrdered, certificateText, keptFrom } from './certificate-file.ts'
import type { Challenger } from './challenger.ts'
import { AcmeClient } from './client.ts'
import { Exchange } from './exchange.ts'
import { order } from './order.ts'
import { askRenewalInfo, type RenewalInfo } from './renewal-info.ts'

/** The files of the state directory, by their names in it. Written whole or not at all, for the owner only. */
export interface Files {
  /** Where a file is, for messages. */
  pathOf(name: string): string
  /** Undefined where there is none. */
  read(name: string): Promise<string | undefined>
  write(name: string, text: string): Promise<void>
}

/** What is asked of whom. */
export interface AcmeSettings {
  /** URL of the directory. */
  readonly directory: string
  /** In lower case. */
  readonly names: readonly string[]
  readonly email: string | undefined
  readonly challenger: Challenger
  /** PEM of the CA of a private directory, read when it is needed. */
  readonly readCa: () => Promise<string | undefined>
  readonly userAgent: string
  readonly files: Files
  readonly wallMs: () => number
}

export const CERTIFICATE_FILE = 'certificate.pem'
const ACCOUNT_FILE = 'account.json'

/** Orders a certificate and puts it into its file. @throws {AcmeFault} */
export async function obtain(settings: AcmeSettings, signal: AbortSignal): Promise<void> {
  const { directory, names, email, challenger, files, wallMs } = settings
  await withExchange(settings, async (exchange) => {
    const accounts = accountsFrom(await files.read(ACCOUNT_FILE), files.pathOf(ACCOUNT_FILE))
    const entry = entryFor(accounts, directory)
    // The key is on disk before anybody hears of it: an account whose key is lost is lost too.
    if (!accounts.includes(entry)) await keep(settings, accountsText(accounts, entry))
    const client = new AcmeClient({ directory, exchange, jwk: entry.jwk, wallMs, signal })
    const logIn = async (known: ReturnType<typeof accountOf>) => {
      const account = await client.logIn(known, email)
      if (account !== known) await keep(settings, accountsText(accounts, account))
    }
    const replaces = await replacedBy(settings)
    const place = () => order({ client, names, challenger, replaces, wallMs })
    const known = accountOf(entry)
    const issue = await (async () => {
      try {
        await logIn(known)
        return await place()
      } catch (error) {
        const isForgotten =
          known !== undefined && error instanceof AcmeFault && error.type === 'accountDoesNotExist'
        if (!isForgotten) throw error
        // The directory has been set up anew: the same key makes an account there.
        await logIn(undefined)
        return await place()
      }
    })()
    const text = certificateText(directory, issue)
    assertOrdered(text, issue.key, names, wallMs())
    signal.throwIfAborted()
    await files.write(CERTIFICATE_FILE, text)
  })
}

/** Asks when to renew the certificate that is kept. @throws {AcmeFault} */
export async function askWhenToRenew(
  settings: AcmeSettings,
  pem: string,
  signal: AbortSignal,
): Promise<RenewalInfo | undefined> {
  const { directory, files, wallMs } = settings
  return await withExchange(settings, async (exchange) => {
    const accounts = accountsFrom(await files.read(ACCOUNT_FILE), files.pathOf(ACCOUNT_FILE))
    const { jwk } = entryFor(accounts, directory)
    const client = new AcmeClient({ directory, exchange, jwk, wallMs, signal })
    return await askRenewalInfo(client, pem, wallMs)
  })
}

async function replacedBy({ directory, files }: AcmeSettings): Promise<string | undefined> {
  const kept = keptFrom(await files.read(CERTIFICATE_FILE))
  if (kept === undefined || kept.directory !== directory) return undefined
  const { renewalIdOf } = await import('./certificates.ts')
  return renewalIdOf(kept.leaf.toString())
}

function keep({ files }: AcmeSettings, accounts: string): Promise<void> {
  return files.write(ACCOUNT_FILE, accounts)
}

async function withExchange<T>(
  { readCa, userAgent }: AcmeSettings,
  work: (exchange: Exchange) => Promise<T>,
): Promise<T> {
  const exchange = new Exchange({ ca: await readCa(), userAgent })
  try {
    return await work(exchange)
  } finally {
    await exchange.close()
  }
}
