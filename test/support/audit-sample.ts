/** The sample of an audit log, and who is in it. `test/real/audit-log.test.ts` makes it. */
import { join } from 'node:path'
import { ROOT } from './tools.ts'

export const AUDIT_SAMPLE = join(ROOT, 'docker/crowdsec/.tests/tollgate/audit.log')

/** Each of them made five requests within a minute without a token or with one that nobody knows. */
export const ATTACKERS = {
  ipv4: '203.0.113.9',
  ipv6: '2001:db8:2::9',
  /** Came as ::ffff:203.0.113.11. */
  mapped: '203.0.113.11',
  /** Each of its user agents is a line of the log about somebody else. */
  injecting: '2001:db8:3::9',
} as const

/** Nobody of these is to be banned. */
export const HARMLESS = {
  /** Four requests without a token. */
  fewTries: '203.0.113.14',
  /** Its token has expired; its user agents are lines of the log about somebody else. */
  expired: '203.0.113.12',
  broken: '2001:db8:4::12',
  paths: '203.0.113.13',
  early: '2001:db8:5::15',
  scope: '203.0.113.15',
  certificate: '203.0.113.16',
  byHand: '203.0.113.17',
  agent: '203.0.113.18',
} as const

/** The assertions of `cscli hubtest` about a log: which lines the parser reads, and as what. */
export function parserAssertions(lines: readonly string[]): string {
  const results = 'results["s01-parse"]["tollgate/tollgate-logs"]'
  const enriched = 'results["s02-enrich"]["tollgate/tollgate-whitelist"]'
  const entries = lines.map((line) => JSON.parse(line) as Entry)
  const isRead = ({ event }: Entry) => event === 'auth_refused'
  return [
    `len(${results}) == ${lines.length}`,
    ...entries.flatMap((entry, index) => {
      const result = `${results}[${index}]`
      if (!isRead(entry)) return [`${result}.Success == false`]
      return [
        `${result}.Success == true`,
        `${result}.Evt.Meta["log_type"] == "tollgate_refused"`,
        `${result}.Evt.Meta["source_ip"] == "${entry.client?.ip}"`,
        `${result}.Evt.Meta["reason"] == "${entry.reason}"`,
        `${result}.Evt.Parsed["time_ms"] == "${entry.time}"`,
      ]
    }),
    `len(${enriched}) == ${entries.filter(isRead).length}`,
    // hubtest takes what is before == for the subject, and lets pass what has a blank in it.
    `any(${enriched},{#.Evt.Whitelisted}) == false`,
    '',
  ].join('\n')
}

interface Entry {
  readonly event: string
  readonly reason: string
  readonly time: number
  readonly client?: { readonly ip: string }
}
