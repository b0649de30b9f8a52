/**
 * The gateway's image as docker/Dockerfile makes it, run by a real Docker engine. Its bases are made of
 * this machine's Node.js, as no image can be pulled here: what the official ones hold besides is not seen.
 */
import assert from 'node:assert/strict'
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { runToEnd } from '../support/child.ts'
import { Client } from '../support/client.ts'
import { type Engine, hasDocker, startEngine } from '../support/docker-engine.ts'
import { buildCommand, buildImage, GATEWAY_IMAGE, withBuilder } from '../support/docker-images.ts'
import { reach } from '../support/docker-reach.ts'
import { eventually } from '../support/eventually.ts'
import { sumOf } from '../support/exposition.ts'
import { readMetrics } from '../support/metrics.ts'
import { spanMessage } from '../support/span.ts'
import { hasTools, ROOT, tool } from '../support/tools.ts'

const MAX_IMAGE_BYTES = 200 * 1000 * 1000
const HARDENED = [
  ...['--read-only', '--cap-drop=ALL', '--security-opt=no-new-privileges', '--tmpfs=/tmp'],
  ...['--volume=state:/var/lib/tollgate', '--pids-limit=128', '--memory=512m'],
]
const PLANTED = 'planted-0123456789abcdef'
const SECRETS = [
  '.env',
  '.env.production',
  'docker/.env',
  'src/.env',
  'src/server.key',
  'src/tls/ca.pem',
  'certs/server.pem',
  '.npmrc',
  'src/.npmrc',
  'tokens.json',
  'src/tokens.json',
  'acme.json',
  '.git/config',
  '.tollgate/token',
  'node_modules/left/over.js',
  'test/a.test.ts',
  'docker/backup/node_modules/a/b.js',
  'docker/backup/key.age',
]

test('the image runs as it is meant to be run', async (t) => {
  if (!hasDocker(t)) return
  const engine = await startEngine(t)
  await buildImage(engine, GATEWAY_IMAGE)

  await t.test('it is small, says what it is, and is nobody’s root', async () => {
    const [image] = JSON.parse(await engine.docker(['image', 'inspect', GATEWAY_IMAGE.tag]))
    t.diagnostic(`${Math.round(image.Size / 1e6)} MB`)
    assert.ok(image.Size < MAX_IMAGE_BYTES, `${image.Size} bytes`)
    assert.equal(image.Config.User, '65532:65532')
    assert.deepEqual(image.Config.Entrypoint, ['tollgate'])
    assert.deepEqual(image.Config.Healthcheck.Test, ['CMD', 'tollgate', 'healthcheck'])
    assert.equal(image.Config.Labels['org.opencontainers.image.title'], 'Tollgate')
    assert.equal(image.Config.Labels['org.opencontainers.image.licenses'], 'Apache-2.0')
    const version = await engine.docker(['run', '--rm', ...HARDENED, GATEWAY_IMAGE.tag, 'version'])
    const labelled = image.Config.Labels['org.opencontainers.image.version']
    assert.match(version, new RegExp(`^tollgate ${labelled.replaceAll('.', '\\.')} `))
  })

  await t.test('hardened it becomes healthy, and a stop lets a request end', async () => {
    await engine.docker([
      ...['run', '--detach', '--name=tollgate', ...HARDENED, '--health-interval=1s'],
      ...['--publish=4318:4318', '--env=TOLLGATE_ADMIN_LISTEN=0.0.0.0:9464', GATEWAY_IMAGE.tag],
    ])
    await untilHealthy(engine, 'tollgate')
    const [, uid] =
      (await engine.docker(['top', 'tollgate', '-o', 'pid,uid'])).match(/\d+ +(\d+)/) ?? []
    assert.equal(uid, '65532')
    for (const shell of ['sh', '/bin/sh', 'bash', 'busybox']) {
      const { code, stdout, stderr } = await engine.attempt([
        'exec',
        'tollgate',
        shell,
        '-c',
        'true',
      ])
      assert.ok(code === 126 || code === 127, `${shell}: ${code}`)
      assert.match(stdout + stderr, /executable file not found|no such file/)
    }

    const client = await clientOf(t, engine)
    const whole = await client.send({ message: spanMessage('image', 1) })
    assert.equal(whole.httpStatus, 200)
    const message = spanMessage('image', 2)
    const call = client.open({}, message.length)
    await call.write(message.subarray(0, 10))
    const address = await addressOf(engine, 'tollgate')
    const admin = await reach(t, engine, address, 9464)
    await eventually(async () => {
      const page = await readMetrics(`127.0.0.1:${admin}`)
      return sumOf(page, 'tollgate_in_flight') === 1
    }, 'the request in flight')
    const stopped = engine.docker(['stop', '--time=60', 'tollgate'])
    await eventually(
      async () => (await logOf(engine, 'tollgate')).includes('"event":"draining"'),
      'the gateway draining',
    )
    await call.write(message.subarray(10))
    call.end()
    assert.equal((await call.answer).httpStatus, 200)
    await stopped
    const exitCode = await engine.docker(['inspect', '--format={{.State.ExitCode}}', 'tollgate'])
    assert.equal(exitCode.trim(), '0', await logOf(engine, 'tollgate'))
  })

  await t.test('its list of components is what is in it', async () => {
    const folder = await mkdtemp(join(engine.folder, 'app-'))
    await engine.docker(['cp', 'tollgate:/app', folder])
    const app = join(folder, 'app')
    const listed = await componentsOf(join(app, 'sbom.cdx.json'))
    const found = await packagesIn(join(app, 'node_modules'))
    assert.deepEqual(
      found.filter((each) => !listed.has(each)),
      [],
      'in the image and not listed',
    )
    assert.deepEqual(
      [...listed].filter((each) => !found.includes(each)),
      [],
      'listed and not there',
    )
    assert.ok(listed.size > 50, `${listed.size} components`)
    for (const name of ['typescript', '@napi-rs/keyring', '@aws-sdk/client-s3', 'node']) {
      const is = [...listed].some((each) => each.startsWith(`${name}@`))
      assert.equal(is, false, `${name} has no place in it`)
    }
    assert.ok([...listed].some((each) => each.startsWith('@aws-sdk/client-secrets-manager@')))
  })
})

test('what lies beside the Dockerfile and is secret does not get into an image', async (t) => {
  if (!hasDocker(t)) return
  const context = await mkdtemp(join(tmpdir(), 'tollgate-context-'))
  t.after(() => rm(context, { recursive: true, force: true }))
  for (const path of [GATEWAY_IMAGE.dockerfile, '.dockerignore', ...GATEWAY_IMAGE.sources]) {
    await cp(join(ROOT, path), join(context, path), { recursive: true })
  }
  for (const path of SECRETS) {
    await mkdir(dirname(join(context, path)), { recursive: true })
    await writeFile(join(context, path), PLANTED)
  }
  await withBuilder(async (builder) => {
    const gateway = { ...GATEWAY_IMAGE, tag: 'tollgate:planted' }
    await builder.docker(buildCommand(gateway), { cwd: context, timeoutMs: 900_000 })
    assert.deepEqual(await plantedIn(builder, gateway.tag, context), [])

    // Whatever any Dockerfile might copy.
    const all = { ...gateway, tag: 'tollgate:all', dockerfile: 'all.Dockerfile' }
    await writeFile(
      join(context, all.dockerfile),
      'FROM gcr.io/distroless/nodejs24-debian13:nonroot\nCOPY . /all\n',
    )
    await builder.docker(buildCommand(all), { cwd: context })
    assert.deepEqual(await plantedIn(builder, all.tag, context), [])
    await rm(join(context, '.dockerignore'))
    await builder.docker(buildCommand(all), { cwd: context })
    assert.equal((await plantedIn(builder, all.tag, context)).length, SECRETS.length)
    await builder.docker(['image', 'rm', gateway.tag, all.tag])
  })
})

test('hadolint has nothing to say of the Dockerfiles', async (t) => {
  if (!hasTools(t, 'hadolint')) return
  const files = ['docker/Dockerfile', 'docker/backup/Dockerfile'].map((file) => join(ROOT, file))
  const { code, stdout } = await runToEnd(tool('hadolint'), files)
  assert.equal(stdout, '')
  assert.equal(code, 0)
})

async function untilHealthy(engine: Engine, name: string): Promise<void> {
  await eventually(async () => {
    const state = await engine.docker(['inspect', '--format={{.State.Health.Status}}', name])
    return state.trim() === 'healthy'
  }, `${name} healthy`)
}

async function clientOf(t: TestContext, engine: Engine): Promise<Client> {
  const port = await reach(t, engine, '127.0.0.1', 4318)
  const inState = (file: string) => fileIn(engine, `tollgate:/var/lib/tollgate/${file}`)
  const client = new Client({
    way: 'HTTP/1.1',
    address: `127.0.0.1:${port}`,
    caPem: await inState('ca.pem'),
    token: (await inState('token')).trim(),
  })
  t.after(() => client.close())
  return client
}

/** The content of a file of a container. */
async function fileIn(engine: Engine, path: string): Promise<string> {
  const to = await mkdtemp(join(engine.folder, 'file-'))
  await engine.docker(['cp', path, join(to, 'file')])
  return (await runToEnd('cat', [join(to, 'file')])).stdout
}

async function addressOf(engine: Engine, name: string): Promise<string> {
  const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}'
  return (await engine.docker(['inspect', `--format=${format}`, name])).trim()
}

async function logOf(engine: Engine, name: string): Promise<string> {
  const { stdout, stderr } = await engine.attempt(['logs', name])
  return stdout + stderr
}

/** `name@version` of each. */
async function componentsOf(path: string): Promise<ReadonlySet<string>> {
  const { stdout } = await runToEnd('cat', [path])
  const { components } = JSON.parse(stdout) as { components: { purl: string }[] }
  return new Set(components.map(({ purl }) => decodeURIComponent(purl.slice('pkg:npm/'.length))))
}

async function packagesIn(nodeModules: string): Promise<readonly string[]> {
  // A package is where its name says; further package.json files only set the kind of modules.
  const script = `
    const { readdirSync, readFileSync } = require('node:fs')
    for (const e of readdirSync(process.argv[1], { recursive: true, withFileTypes: true })) {
      if (e.name !== 'package.json' || !/node_modules\\/(@[^/]+\\/)?[^/]+$/.test(e.parentPath)) continue
      const { name, version } = JSON.parse(readFileSync(e.parentPath + '/package.json', 'utf8'))
      console.log(name + '@' + version)
    }`
  const { stdout } = await runToEnd(process.execPath, ['-e', script, nodeModules])
  return [...new Set(stdout.split('\n').filter(Boolean))]
}

/** The files of an image that hold what was planted. */
async function plantedIn(builder: Engine, tag: string, folder: string): Promise<readonly string[]> {
  const root = await mkdtemp(join(folder, '..', 'tollgate-export-'))
  try {
    const id = (await builder.docker(['create', '--network=none', tag, 'none'])).trim()
    await builder.docker(['export', '--output', join(root, 'image.tar'), id])
    await builder.docker(['rm', id])
    await mkdir(join(root, 'all'))
    const unpacked = await runToEnd('tar', [
      '-xf',
      join(root, 'image.tar'),
      '-C',
      join(root, 'all'),
    ])
    assert.equal(unpacked.code, 0, unpacked.stderr)
    const { stdout } = await runToEnd('grep', ['-rlF', PLANTED, join(root, 'all')])
    return stdout.split('\n').filter(Boolean)
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}
