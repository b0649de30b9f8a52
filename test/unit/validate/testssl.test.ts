/** Findings as testssl 3.2 writes them, and which of them count. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Finding, judgeFindings } from '../../../docker/validate/checks/testssl.ts'

const fine = Array.from({ length: 30 }, (_, index): Finding => {
  return { id: `cert_${index}`, severity: 'OK', finding: 'fine' }
})
const grade = (finding: string): Finding => ({ id: 'overall_grade', severity: 'INFO', finding })
const finding = (id: string, severity = 'HIGH'): Finding => ({ id, severity, finding: 'bad' })
const statuses = (findings: readonly Finding[], isOwnCa = true) =>
  judgeFindings(findings, isOwnCa, '').map(({ status }) => status)

test('an A with nothing but what is allowed is good', () => {
  assert.deepEqual(statuses([...fine, finding('HSTS', 'LOW'), grade('A')]), ['pass', 'pass'])
  assert.deepEqual(statuses([...fine, grade('A+')]), ['pass', 'pass'])
})

test('another finding fails, and so does a B, an A- or a T', () => {
  const row = judgeFindings([...fine, finding('TLS1_1', 'LOW'), grade('A')], true, '')[0]
  assert.equal(row?.status, 'fail')
  assert.equal(row?.figure, 'TLS1_1: bad')
  for (const bad of ['B', 'A-', 'T', 'M'])
    assert.deepEqual(statuses([...fine, grade(bad)]), ['pass', 'fail'], bad)
})

test('what is allowed to a CA of one’s own is not to a public one', () => {
  const findings = [...fine, finding('cert_notAfter'), grade('A')]
  assert.deepEqual(statuses(findings, true), ['pass', 'pass'])
  assert.deepEqual(statuses(findings, false), ['fail', 'pass'])
})

test('a scan that was cut off is no pass, and no grade is not known', () => {
  assert.deepEqual(statuses([finding('engine_problem', 'WARN')]), ['fail', 'skip'])
  assert.deepEqual(statuses(fine), ['pass', 'skip'])
})
