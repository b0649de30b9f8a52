/** What is told of certificates by ACME. Never a key, a token of a challenge or an account. */
import type { Log } from './log.ts'

/** What is told. */
export type AcmeNews =
  | { readonly kind: 'ordering'; readonly isFirst: boolean }
  | { readonly kind: 'issued'; readonly notAfterMs: number; readonly renewAtMs: number }
  | { readonly kind: 'failed'; readonly words: string; readonly nextAttemptMs: number }
  | { readonly kind: 'moved'; readonly renewAtMs: number; readonly explanation: string | undefined }
  | { readonly kind: 'notice'; readonly words: string }

export interface AcmeNoticesOptions {
  readonly log: Log
  /** Host name of the directory. */
  readonly directory: string
  readonly names: readonly string[]
}

export class AcmeNotices {
  readonly #options: AcmeNoticesOptions

  constructor(options: AcmeNoticesOptions) {
    this.#options = options
  }

  /** At the start: no certificate from the directory is there yet. */
  standsIn(): void {
    const { log, directory, names } = this.#options
    log.warn(
      'certificate_stand_in',
      `The development certificate is served until ${directory} has issued one for ${names.join(', ')}; agents do not trust it`,
      { directory, names },
    )
  }

  /** Something happened. */
  tell(news: AcmeNews): void {
    const { log, directory, names } = this.#options
    const list = names.join(', ')
    if (news.kind === 'ordering') {
      const what = news.isFirst ? 'a certificate' : 'a new certificate'
      log.info('certificate_ordered', `Asking ${directory} for ${what} for ${list}`, {
        directory,
        names,
      })
    } else if (news.kind === 'issued') {
      const [notAfter, renewal] = [isoOf(news.notAfterMs), isoOf(news.renewAtMs)]
      const message = `${directory} issued a certificate for ${list}, valid until ${notAfter}; it is renewed on ${renewal}`
      log.info('certificate_issued', message, { directory, names, notAfter, renewal })
    } else if (news.kind === 'failed') {
      const nextAttempt = isoOf(news.nextAttemptMs)
      const message = `Could not get a certificate for ${list}: ${news.words}. The next attempt is on ${nextAttempt}; once the reason is gone: tollgate cert renew --force`
      log.error('certificate_refused', message, { directory, names, nextAttempt })
    } else if (news.kind === 'moved') {
      const renewal = isoOf(news.renewAtMs)
      const why = news.explanation === undefined ? '' : ` (${news.explanation})`
      const message = `${directory} wants the certificate renewed on ${renewal}${why}`
      log.info('certificate_renewal_moved', message, { directory, renewal })
    } else log.warn('notice', news.words, { directory })
  }
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString()
}
