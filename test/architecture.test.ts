/** The house keeps its shape: imports run one way, files stay small and are named for what they are. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { test } from 'node:test'

const SRC = join(import.meta.dirname, '..', 'src')
const FILES = globSync('**/*.ts', { cwd: SRC }).toSorted()

/** Which parts a part may import, besides itself. Files that lie in `src` itself are parts too. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  otlp: [],
  http2: [],
  // Types alone: see below.
  pipeline: ['otlp'],
  config: ['pipeline'],
  edge: ['pipeline', 'otlp', 'http2'],
  upstream: ['pipeline', 'otlp', 'http2'],
  stores: ['pipeline', 'otlp'],
  secrets: ['pipeline', 'otlp'],
  oidc: ['pipeline', 'otlp'],
  rotation: ['secrets', 'stores', 'pipeline'],
  tls: ['pipeline'],
  acme: [],
  observe: ['pipeline', 'otlp'],
  admin: ['pipeline'],
  // The small process that outlives the gateway: it carries nothing of it.
  parent: [],
  commands: [
    'acme-certificate',
    'admin',
    'config',
    'gateway',
    'observe',
    'oidc',
    'otlp',
    'parent',
    'pipeline',
    'rotation',
    'secrets',
    'stores',
    'tls',
    'token-places',
    'upstream',
  ],
  'acme-certificate': ['acme', 'config', 'observe', 'pipeline', 'secrets'],
  'command-socket': [
    ...['acme-certificate', 'admin', 'certificate-control', 'pipeline', 'stores', 'tls'],
    ...['client-addresses', 'token-sources'],
  ],
  'certificate-control': ['acme-certificate', 'admin', 'tls'],
  'client-addresses': ['config', 'edge', 'observe', 'pipeline', 'stores'],
  'client-certificates': ['config', 'observe', 'pipeline', 'tls'],
  'state-files': ['observe', 'pipeline', 'stores'],
  'jwt-issuers': ['config', 'observe', 'oidc', 'pipeline'],
  'token-places': ['config', 'secrets', 'stores'],
  'token-sources': ['config', 'observe', 'secrets', 'stores', 'token-places'],
  readings: ['observe', 'pipeline', 'stores', 'tls', 'token-sources', 'watched-files'],
  'watched-files': ['config', 'observe', 'secrets', 'tls'],
  gateway: [
    'acme-certificate',
    'admin',
    'command-socket',
    'client-addresses',
    'client-certificates',
    'config',
    'edge',
    'jwt-issuers',
    'observe',
    'pipeline',
    'readings',
    'secrets',
    'state-files',
    'stores',
    'tls',
    'token-sources',
    'upstream',
    'watched-files',
  ],
  main: ['commands'],
}

/** What a file may not be called: a file nobody can name has no reason to exist. */
const NO_NAME =
  /^(?:utils?|helpers?|common|shared|misc|types|index|.*(?:-utils?|-helpers?|manager|impl))$/

interface Import {
  readonly from: string
  readonly to: string
  readonly isTypeOnly: boolean
}

test('imports run one way', () => {
  const wrong = imports()
    .filter(({ from, to }) => isRelative(to) && !isAllowed(from, resolved(from, to)))
    .map(({ from, to }) => `${from} imports ${resolved(from, to)}`)
  assert.deepEqual(wrong, [])
})

test('every part is known here', () => {
  const parts = new Set(FILES.map(partOf))
  assert.deepEqual(
    [...parts].filter((part) => !Object.hasOwn(MAY_IMPORT, part)),
    [],
  )
})

test('the pipeline is pure: nothing from outside, and of OTLP the types alone', () => {
  const wrong = imports().filter(({ from, to, isTypeOnly }) => {
    if (partOf(from) !== 'pipeline') return false
    if (!isRelative(to)) return true
    return partOf(resolved(from, to)) === 'otlp' && !isTypeOnly
  })
  assert.deepEqual(wrong, [])
})

test('HTTP/2 knows nothing of what it carries', () => {
  const wrong = imports().filter(
    ({ from, to }) => partOf(from) === 'http2' && !isRelative(to) && !to.startsWith('node:'),
  )
  assert.deepEqual(wrong, [])
})

test('imports name a file, so that this test can read them', () => {
  const wrong = imports().filter(
    ({ from, to }) => isRelative(to) && !FILES.includes(resolved(from, to)),
  )
  assert.deepEqual(wrong, [])
})

test('what few gateways use is loaded where it is configured: each of these is 10 to 20 MB', () => {
  const reached = new Set(['commands/run-gateway.ts'])
  for (const file of reached) {
    for (const { to, isTypeOnly } of staticImports(file))
      if (!isTypeOnly && isRelative(to)) reached.add(resolved(file, to))
  }
  const heavy =
    /^(?:jose|pino-pretty|reflect-metadata|@peculiar\/|@aws-sdk\/|@napi-rs\/|@opentelemetry\/)/
  const wrong = [...reached].flatMap((file) =>
    staticImports(file)
      .filter(({ to, isTypeOnly }) => !isTypeOnly && heavy.test(to))
      .map(({ to }) => `${file} imports ${to}`),
  )
  assert.ok(reached.size > 100, 'the gateway was followed')
  assert.deepEqual(wrong, [])
})

test('no file is named after nothing, and none is longer than 400 lines', () => {
  assert.deepEqual(
    FILES.filter((file) => NO_NAME.test(posix.basename(file, '.ts'))),
    [],
  )
  assert.deepEqual(
    FILES.filter((file) => read(file).split('\n').length > 400),
    [],
  )
})

test('every file says what it is for', () => {
  const silent = FILES.filter((file) => !read(file).includes('/**'))
  assert.deepEqual(silent, [])
})

function isAllowed(from: string, to: string): boolean {
  const part = partOf(from)
  const target = partOf(to)
  return part === target || (MAY_IMPORT[part] ?? []).includes(target)
}

/** `edge/wire.ts` is of `edge`, `gateway.ts` of `gateway`. */
function partOf(file: string): string {
  return file.includes('/') ? (file.split('/')[0] ?? '') : file.replace(/\.ts$/, '')
}

function imports(): Import[] {
  return FILES.flatMap((from) => [
    ...staticImports(from),
    ...[...read(from).matchAll(/\bimport\(\s*'([^']+)'/gm)].map(([, to = '']) => ({
      from,
      to,
      isTypeOnly: false,
    })),
  ])
}

/** What is loaded with a file, `import type` aside. */
function staticImports(from: string): Import[] {
  return [
    ...[...read(from).matchAll(/^(?:import|export)\s+(type\s)?[^'"]*?from '([^']+)'/gm)].map(
      ([, type, to = '']) => ({ from, to, isTypeOnly: type !== undefined }),
    ),
    ...[...read(from).matchAll(/^import\s*'([^']+)'/gm)].map(([, to = '']) => ({
      from,
      to,
      isTypeOnly: false,
    })),
  ]
}

function isRelative(to: string): boolean {
  return to.startsWith('.')
}

function resolved(from: string, to: string): string {
  return posix.join(dirname(from), to)
}

function read(file: string): string {
  return readFileSync(join(SRC, file), 'utf8')
}
