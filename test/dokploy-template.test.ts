/** The template for Dokploy keeps the rules of Dokploy's templates, a test each, for every way in. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join, normalize } from 'node:path'
import { describe, it } from 'node:test'
import { parseEnv } from 'node:util'
import { parse } from 'yaml'
import { type Blueprint, blueprintOf, importTextOf, WAYS } from '../docker/dokploy/import.ts'
import { parseConfig } from '../src/config/config.ts'
import { OPTIONS } from '../src/config/options.ts'
import { Child, runToEnd } from './support/child.ts'
import { importTemplate, interpolate, isHelper, readTemplate } from './support/dokploy-template.ts'
import { findTool, ROOT } from './support/tools.ts'

const FOLDER = join(ROOT, 'docker/dokploy')
const SCRIPT = join(FOLDER, 'import.ts')
/** Variables of the compose file alone, which no container sees. */
const OURS_OF_COMPOSE = new Set(['TOLLGATE_IMAGE'])
const options = new Set<string>(Object.values(OPTIONS).map(({ env }) => env))

interface Service {
  readonly image: string
  readonly environment?: Readonly<Record<string, string | null>>
  readonly ports?: readonly string[]
  readonly volumes?: readonly string[]
  readonly labels?: unknown
  readonly networks?: unknown
  readonly network_mode?: string
  readonly container_name?: string
  readonly restart?: string
  readonly read_only?: boolean
  readonly cap_drop?: readonly string[]
  readonly security_opt?: readonly string[]
  readonly mem_limit?: string
  readonly pids_limit?: number
  readonly stop_grace_period?: string
  readonly logging?: { readonly options?: Readonly<Record<string, string>> }
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>
  readonly volumes?: Readonly<Record<string, unknown>>
  readonly networks?: unknown
}

describe('meta.json', () => {
  const meta = JSON.parse(readFileSync(join(FOLDER, 'meta.json'), 'utf8'))

  it('has every field that is required, and the id of its folder in blueprints/', () => {
    assert.equal(meta.id, 'tollgate')
    for (const field of ['name', 'version', 'description', 'logo'])
      assert.ok(typeof meta[field] === 'string' && meta[field] !== '', field)
    assert.deepEqual(Object.keys(meta.links), ['github', 'website', 'docs'])
    for (const link of Object.values(meta.links)) assert.match(String(link), /^(https:\/\/.+)?$/)
    assert.ok(meta.tags.length > 0)
    for (const tag of meta.tags) assert.match(tag, /^[a-z][a-z-]*$/)
  })

  it('names a logo that is there, and an SVG that loads nothing', () => {
    assert.equal(meta.logo, 'logo.svg')
    const logo = readFileSync(join(FOLDER, meta.logo), 'utf8')
    assert.match(logo, /^<svg /)
    assert.doesNotMatch(logo, /<script|href|url\(|<image|on[a-z]+=/)
  })

  it('has the version of this package, and of the image', () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    assert.equal(meta.version, version)
    const compose = readFileSync(join(FOLDER, 'docker-compose.yml'), 'utf8')
    for (const [, tag] of compose.matchAll(/\$\{TOLLGATE_IMAGE:-tollgate:([^}]+)\}/g))
      assert.equal(tag, version)
    const template = readFileSync(join(FOLDER, 'template.toml'), 'utf8')
    assert.ok(template.includes(`TOLLGATE_IMAGE=tollgate:${version}"`))
  })
})

for (const way of WAYS) {
  const blueprint = await blueprintOf(way)
  describe(`the template: ${way}`, () => {
    rulesOfCompose(blueprint, way === 'ports')
    rulesOfConfig(blueprint)
    whatDokployMakes(blueprint)
  })
}

/** `docker-compose.yml`, by the checks that Dokploy's collection of templates runs. */
function rulesOfCompose({ compose }: Blueprint, publishes: boolean) {
  const { services, volumes = {}, networks } = parse(compose) as Compose

  it('has a service of the name of the template', () => assert.ok('tollgate' in services))

  it('names no container, and no network: an isolated deployment has one of its own', () => {
    assert.equal(networks, undefined)
    for (const [name, service] of Object.entries(services)) {
      assert.equal(service.container_name, undefined, name)
      assert.equal(service.networks, undefined, name)
      // Docker Compose refuses it beside the network that Dokploy adds.
      assert.equal(service.network_mode, undefined, name)
    }
    assert.doesNotMatch(compose, /dokploy-network/)
  })

  it('publishes the ports of OTLP on IPv4 and says so, or none', () => {
    const published = Object.values(services).flatMap(({ ports = [] }) => ports)
    const expected = publishes ? ['0.0.0.0:4317:4317', '0.0.0.0:4318:4318'] : []
    assert.deepEqual(published, expected)
    if (publishes) assert.match(compose, /^# dokploy: allow-host-ports$/m)
  })

  it('mounts no absolute path of the host, and named volumes that are declared', () => {
    const used = new Set<string>()
    for (const { volumes: mounted = [] } of Object.values(services))
      for (const volume of mounted) {
        const [source = ''] = volume.split(':')
        assert.doesNotMatch(source, /^[/~$]/, volume)
        if (!source.startsWith('.')) used.add(source)
      }
    assert.deepEqual([...used].sort(), Object.keys(volumes).sort())
  })

  it('mounts files of Dokploy alone: its own, and the directory of Traefik', () => {
    for (const { volumes: mounted = [] } of Object.values(services))
      for (const volume of mounted.filter((one) => one.startsWith('.'))) {
        const [source = ''] = volume.split(':')
        const path = normalize(join('/etc/dokploy/compose/app/code', source))
        assert.match(path, /^\/etc\/dokploy\/(compose\/app\/files\/|traefik\/dynamic$)/, volume)
        assert.match(volume, /:ro$/)
      }
  })

  it('has labels as a list: to a mapping Dokploy adds none', () => {
    for (const [name, { labels = [] }] of Object.entries(services))
      assert.ok(Array.isArray(labels), name)
  })

  it('pins every image', () => {
    for (const { image } of Object.values(services))
      assert.match(image.replace(/^\$\{TOLLGATE_IMAGE:-(.*)\}$/, '$1'), /:v?\d+\.\d+\.\d+$/)
  })

  it('gives each service what Applications of Dokploy cannot have, and bounds', () => {
    for (const [name, service] of Object.entries(services)) {
      assert.equal(service.restart, 'unless-stopped', name)
      assert.equal(service.read_only, true, name)
      assert.deepEqual(service.cap_drop, ['ALL'], name)
      assert.deepEqual(service.security_opt, ['no-new-privileges:true'], name)
      assert.match(service.mem_limit ?? '', /^\d+m$/, name)
      assert.ok((service.pids_limit ?? 0) > 0, name)
      assert.deepEqual(service.logging?.options, { 'max-size': '10m', 'max-file': '3' }, name)
    }
  })

  it('stops the gateway with more patience than it needs', () => {
    const seconds = /^(\d+)s$/.exec(services.tollgate?.stop_grace_period ?? '')?.[1]
    assert.ok(Number(seconds) * 1000 > parseConfig({}, [], { cwd: '/' }).drainMs)
  })

  it('gives the gateway options that exist', () => {
    for (const name of Object.keys(services.tollgate?.environment ?? {}))
      assert.ok(options.has(name), name)
  })
}

/** `template.toml`. */
function rulesOfConfig({ config, compose }: Blueprint) {
  const { variables = {}, config: wanted } = readTemplate(config)
  const { env = [], domains = [], mounts = [] } = wanted
  const { services } = parse(compose) as Compose
  const referencesIn = (text: string) =>
    [...text.matchAll(/\$\{([^}]+)\}/g)].map(([, name = '']) => name)

  it('uses helpers that Dokploy has, and no secret of Math.random', () => {
    for (const [name, value] of Object.entries(variables)) {
      for (const reference of referencesIn(value))
        assert.ok(isHelper(reference), `${name}: ${reference}`)
      assert.doesNotMatch(value, /password/, name)
    }
  })

  it('defines every variable that it uses, and uses all', () => {
    const used = [...env, ...domains.map(({ host }) => host)].flatMap(referencesIn)
    assert.deepEqual([...new Set(used)].sort(), Object.keys(variables).sort())
  })

  it('leaves nothing in its files that Dokploy would fill in', () => {
    for (const { filePath, content } of mounts)
      assert.deepEqual(referencesIn(content), [], filePath)
  })

  it('gives domains to services that there are', () => {
    assert.ok(domains.length > 0)
    for (const { serviceName, port, host } of domains) {
      assert.ok(serviceName in services, serviceName)
      assert.ok(Number.isInteger(port) && port > 0 && port < 65_536)
      assert.match(host, /^\$\{\w+\}$/)
    }
  })

  it('puts every file where a service mounts it', () => {
    const folders = Object.values(services)
      .flatMap(({ volumes = [] }) => volumes)
      .map((volume) => volume.split(':')[0] ?? '')
      .filter((source) => source.startsWith('../files/'))
    for (const { filePath } of mounts) {
      assert.doesNotMatch(filePath, /^\/|\.\./)
      assert.ok(
        folders.some((folder) => `../files/${filePath}`.startsWith(`${folder}/`)),
        filePath,
      )
    }
  })

  it('writes lines of KEY=value, of which each is an option or used by the compose file', () => {
    for (const line of env.filter((one) => !one.startsWith('#'))) {
      const name = /^([A-Z][A-Z0-9_]*)=/.exec(line)?.[1] ?? ''
      assert.ok(options.has(name) || compose.includes(`\${${name}`), line)
      if (name.startsWith('TOLLGATE_'))
        assert.ok(options.has(name) || OURS_OF_COMPOSE.has(name), name)
    }
  })
}

/** The text that is pasted, and what comes out at the other end. */
function whatDokployMakes(blueprint: Blueprint) {
  const text = importTextOf(blueprint)

  it('goes through base64 unchanged', () => {
    assert.match(text, /^[A-Za-z0-9+/]+=*$/)
    assert.deepEqual(JSON.parse(Buffer.from(text, 'base64').toString()), blueprint)
  })

  it('leaves no reference open', () => {
    const { env, domains, mounts, compose } = importTemplate(text, 'app')
    for (const left of [
      env,
      ...domains.map(({ host }) => host),
      ...mounts.map((one) => one.content),
    ])
      assert.doesNotMatch(left, /\$\{/)
    assert.doesNotMatch(interpolate(compose, env), /\$\{/)
  })

  it('makes another token and password for everybody, of 256 and 128 bits', () => {
    const [one, other] = [0, 1].map(() => parseEnv(importTemplate(text, 'app').env))
    assert.match(one?.TOLLGATE_TOKENS ?? '', /^first-agent=[0-9a-f]{64}$/)
    assert.match(one?.GRAFANA_ADMIN_PASSWORD ?? '', /^[0-9a-f]{32}$/)
    assert.notEqual(one?.TOLLGATE_TOKENS, other?.TOLLGATE_TOKENS)
    assert.notEqual(one?.GRAFANA_ADMIN_PASSWORD, other?.GRAFANA_ADMIN_PASSWORD)
  })

  it('gives the gateway a configuration that it takes', () => {
    const { env, compose } = importTemplate(text, 'app')
    const config = parseConfig(gatewayEnvironment(compose, env), [], { cwd: '/' })
    assert.equal(config.drainMs, 10_000)
  })

  it('does not start with the name or the password missing', () => {
    const { env, compose } = importTemplate(text, 'app')
    for (const name of ['TOLLGATE_TLS_DOMAIN', 'GRAFANA_ADMIN_PASSWORD'])
      assert.throws(
        () => interpolate(compose, env.replace(new RegExp(`^${name}=.*$`, 'm'), `${name}=`)),
        new RegExp(`${name} is missing a value`),
      )
  })
}

/** What the gateway's container gets: values of the file, and of `.env` where the file has none. */
function gatewayEnvironment(compose: string, env: string): Record<string, string> {
  const { services } = parse(interpolate(compose, env)) as Compose
  const variables = parseEnv(env)
  return Object.fromEntries(
    Object.entries(services.tollgate?.environment ?? {}).flatMap(([name, value]) => {
      const given = value ?? variables[name]
      return given === undefined ? [] : [[name, given]]
    }),
  )
}

describe('the script for the import text', () => {
  it('prints it, and nothing else', async () => {
    const { code, stdout, stderr } = await runToEnd(process.execPath, [SCRIPT])
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
    assert.equal(stdout, importTextOf(await blueprintOf('ports')))
  })

  it('says what it knows when asked for something else', async () => {
    const script = new Child(process.execPath, [SCRIPT, 'ingress'])
    assert.deepEqual(await script.exit, { code: 64, signal: null })
    assert.match(script.output, /expected one of ports, passthrough, http-router, not "ingress"/)
  })

  it('makes what the one line with jq in docs/dokploy.md makes', async (t) => {
    const jq = findTool('jq')
    if (jq === undefined) {
      if (process.env.CI === 'true') throw new Error('jq is not installed: run .ci/tools')
      return t.skip('SKIP: jq is not installed: run .ci/tools')
    }
    const page = readFileSync(join(ROOT, 'docs/dokploy.md'), 'utf8')
    const line = /^jq -n .*$/m.exec(page)?.[0]
    assert.ok(line !== undefined && existsSync(FOLDER))
    const { stdout, stderr } = await runToEnd('bash', ['-c', line], { cwd: ROOT })
    assert.equal(stderr, '')
    assert.deepEqual(
      JSON.parse(Buffer.from(stdout, 'base64').toString()),
      await blueprintOf('ports'),
    )
  })
})
