/** The grade that testssl gives. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findTool } from '../../../test/support/tools.ts'
import type { Check } from '../check.ts'
import { commandLine, run } from '../programs.ts'
import { judged, type Row, skipped } from '../row.ts'
import { authority, mainAddress, type Target } from '../target.ts'

const NAME = 'testssl'

/** One line of testssl's report. */
export interface Finding {
  readonly id: string
  readonly severity: string
  readonly finding: string
}

/** Findings of testssl worse than a note, and why they are none here. */
export const ALLOWED: Readonly<Record<string, string>> = {
  engine_problem: 'about the scanner: its OpenSSL has no GOST',
  HSTS: 'for browsers that follow links; exporters have one URL, with its scheme. It is what keeps A from A+',
  security_headers: 'for pages, and there are none here',
  sessionresumption_ticket:
    'openssl s_client hangs up before the ticket of TLS 1.3 has come (49 of 60 times), and testssl has none to show again',
}

/** Further ones that are none where a CA of one's own signs. */
export const ALLOWED_OF_OWN_CA: Readonly<Record<string, string>> = {
  cert_expirationStatus: 'the certificate of the tests is good for two days',
  cert_notAfter: 'the certificate of the tests is good for two days',
  cert_revocation: 'the CA of the tests has neither CRL nor OCSP',
  DNS_CAArecord: 'localhost is in no DNS',
}

/** Further ones of a server with a public certificate. */
const ALLOWED_OF_PUBLIC_CA: Readonly<Record<string, string>> = {
  DNS_CAArecord: 'a record of the domain, not of the gateway; worth having all the same',
  OCSP_stapling: 'exporters do not ask for it',
  cert_expirationStatus: 'the check `tls` has a row for it, by when certificates are renewed',
}

/** All that the grade asks for, and nothing else: no clients are imitated. */
export const GRADED_BY = [
  ...['--quiet', '--color', '0', '--warnings', 'off'],
  ...['-p', '-s', '-f', '-P', '-S', '-h', '-U'],
] as const

/** Findings that are not allowed. */
export function faultsOf(findings: readonly Finding[], isOwnCa: boolean): readonly Finding[] {
  const more = isOwnCa ? ALLOWED_OF_OWN_CA : ALLOWED_OF_PUBLIC_CA
  return findings.filter(
    ({ id, severity }) =>
      !['OK', 'INFO'].includes(severity) &&
      !Object.hasOwn(ALLOWED, id) &&
      !Object.hasOwn(more, id.replace(/ <.*$/, '')),
  )
}

/** The grade, undefined where this testssl gives none: it is older than 3.2. */
export function gradeOf(findings: readonly Finding[]): string | undefined {
  return findings.find(({ id }) => id === 'overall_grade')?.finding
}

export function judgeFindings(
  findings: readonly Finding[],
  isOwnCa: boolean,
  byHand: string,
): readonly Row[] {
  const faults = faultsOf(findings, isOwnCa)
  const told = faults.map(({ id, finding }) => `${id}: ${finding}`).join('; ')
  const grade = gradeOf(findings)
  const wanted = 'grade A or A+'
  const isWhole = findings.some(({ id }) => id.startsWith('cert_')) && findings.length > 20
  return [
    judged(
      NAME,
      'no finding beyond those that are allowed',
      isWhole && faults.length === 0,
      isWhole ? (told === '' ? `${findings.length} findings` : told) : 'testssl did not finish',
      byHand,
    ),
    grade === undefined
      ? skipped(NAME, wanted, 'this testssl gives no grade: it is older than 3.2', byHand)
      : judged(NAME, wanted, /^A\+?$/.test(grade), grade, byHand),
  ]
}

function argsOf(target: Target): string[] {
  return [
    ...[...GRADED_BY, '--openssl', findTool('openssl') ?? 'openssl'],
    ...(target.ca === undefined ? [] : ['--add-ca', target.ca]),
    ...(target.addresses.length > 0 ? ['--ip', mainAddress(target)] : []),
  ]
}

export const testsslCheck: Check = {
  name: NAME,
  effort: 'scan',
  programs: ['testssl', 'openssl'],
  limitSeconds: 300,
  plan: () => 'makes some hundred TLS handshakes with testssl, for about a minute',
  async run(target) {
    const folder = await mkdtemp(join(tmpdir(), 'tollgate-testssl-'))
    try {
      const report = join(folder, 'report.json')
      const where = authority(target.host, target.grpcPort)
      const args = argsOf(target)
      await run('testssl', [...args, '--jsonfile', report, where], { timeoutMs: 280_000 })
      const findings = JSON.parse(await readFile(report, 'utf8')) as Finding[]
      const byHand = commandLine('testssl', [...args, where])
      return judgeFindings(findings, target.ca !== undefined, byHand)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  },
}
