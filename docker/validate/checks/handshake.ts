/** The TLS handshake, by openssl s_client. */
import { isIP } from 'node:net'
import type { Check } from '../check.ts'
import { commandLine, run } from '../programs.ts'
import { judged, type Row, skipped } from '../row.ts'
import { authority, mainAddress, type Target } from '../target.ts'

const NAME = 'tls'
const DAY_MS = 86_400_000
/** The certificate is renewed long before; the alert of docs/alerts.md fires at 14 days. */
const LEAST_DAYS = 14

/** What openssl s_client says of a handshake. */
export interface Handshake {
  /** `TLSv1.3`, or undefined where none came about. */
  readonly version: string | undefined
  readonly alpn: string | undefined
  /** Of the chain and the name: `0 (ok)`. */
  readonly verified: string | undefined
  /** The number of the alert with which it was refused. */
  readonly alert: number | undefined
  /** End of the certificate. */
  readonly notAfterMs: number | undefined
  /** Why it failed. */
  readonly fault: string | undefined
}

/** Reads both outputs of `openssl s_client`. */
export function readHandshake(output: string): Handshake {
  const [, version] = /^New, (\S+), Cipher is (?!\(NONE\))/m.exec(output) ?? []
  const [, alpn] = /^ALPN protocol: (\S+)$/m.exec(output) ?? []
  const [, verified] = /^\s*Verify return code: (.+)$/m.exec(output) ?? []
  const [, alert] = /SSL alert number (\d+)/.exec(output) ?? []
  const [, end] = /NotAfter: ([^\n]+)$/m.exec(output) ?? []
  const [, reason] =
    /^verify error:(.*)$/m.exec(output) ??
    // openssl-errors: number, "error", code, library, function, reason.
    /^[0-9A-F]+:error:[0-9A-F]+:[^:]*:[^:]*:([^:\n]+)/m.exec(output) ??
    []
  return {
    version,
    alpn,
    verified,
    alert: alert === undefined ? undefined : Number(alert),
    notAfterMs: end === undefined ? undefined : Date.parse(end),
    fault: reason,
  }
}

/** A chain that leads to a known CA, the name in it, and the protocol that was asked for. */
export function judgeHandshake(seen: Handshake, alpn: string, port: number, byHand: string): Row {
  const expected = `port ${port}: chain and name verify, ALPN ${alpn}`
  const isGood = seen.verified === '0 (ok)' && seen.alpn === alpn && seen.version !== undefined
  const figure = isGood
    ? `${seen.version}, ${seen.alpn}`
    : (seen.fault ??
      `${seen.version ?? 'no handshake'}, ALPN ${seen.alpn ?? 'none'}, ${seen.verified ?? 'not verified'}`)
  return judged(NAME, expected, isGood, figure, byHand)
}

/** Refused by the server is good; an openssl that cannot ask for it says nothing of the server. */
export function judgeOldVersion(seen: Handshake, version: string, byHand: string): Row {
  const expected = `${version} is refused`
  if (seen.version !== undefined)
    return judged(NAME, expected, false, `a handshake came about: ${seen.version}`, byHand)
  if (seen.alert === undefined)
    return skipped(
      NAME,
      expected,
      `openssl did not get an answer: ${seen.fault ?? 'no alert'}`,
      byHand,
    )
  return judged(NAME, expected, true, `alert ${seen.alert}`, byHand)
}

/** Days that the certificate is still good for. */
export function judgeDaysLeft(
  { notAfterMs }: Handshake,
  wallMs: number,
  leastDays: number,
  byHand: string,
): Row {
  const expected = `the certificate is good for ${leastDays} ${leastDays === 1 ? 'day' : 'days'} or more`
  if (notAfterMs === undefined || Number.isNaN(notAfterMs))
    return judged(NAME, expected, false, 'its end could not be read', byHand)
  const days = Math.floor((notAfterMs - wallMs) / DAY_MS)
  return judged(NAME, expected, days >= leastDays, `${days} days left`, byHand)
}

function argsOf(target: Target, port: number, more: readonly string[]): string[] {
  const { host, ca } = target
  const named =
    isIP(host) === 0
      ? ['-servername', host, '-verify_hostname', host]
      : ['-noservername', '-verify_ip', host]
  return [
    ...['s_client', '-connect', authority(mainAddress(target), port), ...named],
    ...['-verify_return_error', ...(ca === undefined ? [] : ['-CAfile', ca]), ...more],
  ]
}

async function handshake(args: readonly string[]): Promise<Handshake> {
  // Standard input is closed, so that it ends after the handshake.
  const { stdout, stderr } = await run('openssl', args, { timeoutMs: 15_000 })
  return readHandshake(`${stderr}\n${stdout}`)
}

export const handshakeCheck: Check = {
  name: NAME,
  effort: 'handful',
  programs: ['openssl'],
  limitSeconds: 60,
  plan: () => 'makes 6 TLS handshakes',
  async run(target) {
    const rows: Row[] = []
    const ports = [...new Set([target.grpcPort, target.httpPort])]
    let first: { seen: Handshake; byHand: string } | undefined
    for (const port of ports)
      for (const alpn of ['h2', 'http/1.1']) {
        const args = argsOf(target, port, ['-alpn', alpn])
        const byHand = `${commandLine('openssl', args)} </dev/null`
        const seen = await handshake(args)
        first ??= { seen, byHand }
        rows.push(judgeHandshake(seen, alpn, port, byHand))
      }
    for (const [flag, version] of [
      ['-tls1', 'TLS 1.0'],
      ['-tls1_1', 'TLS 1.1'],
    ] as const) {
      // Without the second option an openssl of today refuses to ask for it.
      const args = argsOf(target, target.grpcPort, [flag, '-cipher', 'DEFAULT@SECLEVEL=0'])
      rows.push(
        judgeOldVersion(
          await handshake(args),
          version,
          `${commandLine('openssl', args)} </dev/null`,
        ),
      )
    }
    // The certificate of bare processes is made for the day.
    const leastDays = target.mode === 'bare' ? 1 : LEAST_DAYS
    if (first !== undefined)
      rows.push(judgeDaysLeft(first.seen, Date.now(), leastDays, first.byHand))
    return rows
  },
}
