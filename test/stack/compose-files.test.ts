/** Every compose file beside compose.yml, put together by Compose as .env.example names them. */
import assert from 'node:assert/strict'
import { globSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { runToEnd } from '../support/child.ts'
import { hasTools, ROOT, tool } from '../support/tools.ts'

const SETTINGS = {
  TOLLGATE_DOMAIN: 'otlp.example.com',
  TOLLGATE_ACME_TERMS: 'agreed',
  TOLLGATE_CERTIFICATES: '/srv/certificates',
  GRAFANA_ADMIN_PASSWORD: 'a-password',
}
const FURTHER = globSync('compose.*.yml', { cwd: join(ROOT, 'docker') }).filter(
  (file) => file !== 'compose.yml',
)

interface Service {
  readonly mem_limit?: string
  readonly ports?: readonly Port[]
  readonly networks?: Readonly<Record<string, unknown>>
}

interface Port {
  readonly host_ip?: string
  readonly target: number
  readonly published: string
}

interface Project {
  readonly services: Readonly<Record<string, Service>>
  readonly networks: Readonly<Record<string, { readonly enable_ipv6?: boolean }>>
}

/** compose.yml and these, or undefined where Compose is not installed. */
async function joined(t: TestContext, ...files: string[]): Promise<Project | undefined> {
  if (!hasTools(t, 'docker-compose')) return undefined
  const { code, stdout, stderr } = await configOf(files, SETTINGS)
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout)
}

function configOf(files: readonly string[], settings: Readonly<Record<string, string>>) {
  const named = ['compose.yml', ...files].flatMap((file) => ['--file', join(ROOT, 'docker', file)])
  const asked = ['--env-file', '/dev/null', 'config', '--format', 'json']
  const env = { ...process.env, ...settings }
  return runToEnd(tool('docker-compose'), [...named, ...asked], { env })
}

const publishedBy = ({ services }: Project): readonly string[] =>
  Object.entries(services)
    .flatMap(([name, { ports = [] }]) =>
      ports.map(
        ({ host_ip: ip = '*', published, target }) => `${name} ${ip}:${published}>${target}`,
      ),
    )
    .sort()

const OTLP = ['tollgate *:4317>4317', 'tollgate *:4318>4318']

test('nothing is published but OTLP, and what a further file is there for', async (t) => {
  const expected: Readonly<Record<string, readonly string[]>> = {
    'compose.acme.yml': [...OTLP, 'tollgate *:80>8080'],
    'compose.grafana.yml': ['grafana 127.0.0.1:3000>3000', ...OTLP],
    'compose.ipv4.yml': ['tollgate 0.0.0.0:4317>4317', 'tollgate 0.0.0.0:4318>4318'],
  }
  assert.ok(FURTHER.length >= 6, FURTHER.join(', '))
  for (const file of FURTHER) {
    const project = await joined(t, file)
    if (project === undefined) return
    assert.deepEqual(publishedBy(project), expected[basename(file)] ?? OTLP, file)
  }
})

test('a setting that is missing or empty is named, with what is expected', async (t) => {
  if (!hasTools(t, 'docker-compose')) return
  for (const [name, expected, ...files] of [
    ['TOLLGATE_DOMAIN', /the name by which agents call the gateway/],
    ['GRAFANA_ADMIN_PASSWORD', /the password of Grafana’s first user/],
    ['TOLLGATE_ACME_TERMS', /if you agree to the terms/, 'compose.acme.yml'],
    ['TOLLGATE_CERTIFICATES', /the folder with tls.crt and tls.key/, 'compose.certificates.yml'],
  ] as const) {
    const { [name]: _, ...others } = SETTINGS
    for (const settings of [others, { ...others, [name]: '' }]) {
      const { code, stderr } = await configOf(files, settings)
      assert.notEqual(code, 0, name)
      assert.match(stderr, new RegExp(`required variable ${name} is missing a value`))
      assert.match(stderr, expected)
    }
  }
})

test('IPv4 alone and ACME go together', async (t) => {
  const project = await joined(t, 'compose.ipv4.yml', 'compose.acme.yml', 'compose.grafana.yml')
  if (project === undefined) return
  assert.deepEqual(publishedBy(project), [
    'grafana 127.0.0.1:3000>3000',
    'tollgate *:80>8080',
    'tollgate 0.0.0.0:4317>4317',
    'tollgate 0.0.0.0:4318>4318',
  ])
  assert.notEqual(project.networks.public?.enable_ipv6, true)
})

test('a small server has a smaller limit for every service', async (t) => {
  const [large, small] = [await joined(t), await joined(t, 'compose.small.yml')]
  if (large === undefined || small === undefined) return
  for (const [name, { mem_limit: limit }] of Object.entries(large.services)) {
    const less = small.services[name]?.mem_limit
    assert.ok(Number(less) < Number(limit), `${name}: ${less} and ${limit}`)
  }
})
