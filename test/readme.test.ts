/** What the documentation names exists, and the first start goes as the README says. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { describe, it } from 'node:test'
import { Metrics as BackupMetrics } from '../docker/backup/src/metrics.ts'
import { SETTING_NAMES } from '../docker/backup/src/settings.ts'
import { dispatch } from '../src/commands/dispatch.ts'
import { flagOf } from '../src/config/option.ts'
import { OPTIONS } from '../src/config/options.ts'
import { Metrics } from '../src/observe/metrics.ts'
import { Child } from './support/child.ts'
import { ROOT } from './support/tools.ts'

const PAGES = globSync(['*.md', 'docs/**/*.md', 'certs/*.md', 'bench/README.md'], { cwd: ROOT })
/** Written by the bench, so it may not be there yet. */
const MAY_BE_MISSING = new Set(['bench/RESULTS.md'])
/** What programs are given, and no option. */
const GIVEN = ['TOLLGATE_TOKEN_ID', 'TOLLGATE_HOLDER', 'TOLLGATE_IMAGE']
/** What the compose files ask for, from .env. */
const ASKED = globSync('docker/compose*.yml', { cwd: ROOT }).flatMap((file) =>
  [...readFileSync(join(ROOT, file), 'utf8').matchAll(/\$\{(TOLLGATE_\w+)/g)].map(
    ([, name = '']) => name,
  ),
)

describe('what the documentation names exists', () => {
  const options = new Set<string>(Object.values(OPTIONS).map(({ env }) => env))
  const variables = new Set([...options, ...SETTING_NAMES])
  for (const env of variables) if (!env.endsWith('_FILE')) variables.add(`${env}_FILE`)
  for (const name of [...GIVEN, ...ASKED]) variables.add(name)
  const families = new Set(familyNames())

  it('finds the pages', () => {
    for (const page of ['README.md', 'docs/quick-start.md', 'docs/configuration.md'])
      assert.ok(PAGES.includes(page), page)
  })

  for (const page of PAGES) {
    const text = readFileSync(join(ROOT, page), 'utf8')

    it(`${page}: variables`, () => {
      for (const [name] of text.matchAll(/\bTOLLGATE_[A-Z][A-Z0-9_]*\b/g))
        assert.ok(variables.has(name), `${name} is no option`)
    })

    it(`${page}: metrics`, () => {
      for (const [name] of text.matchAll(/\btollgate_[a-z][a-z0-9_]*\b/g)) {
        const family = name.replace(/_(?:bucket|sum|count)$/, '')
        assert.ok(families.has(name) || families.has(family), `${name} is no metric`)
      }
    })

    it(`${page}: links`, () => {
      for (const [, target = ''] of withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^[a-z]+:/.test(target)) continue
        const [path = '', anchor] = target.split('#')
        const file = path === '' ? page : resolve('/', dirname(page), path).slice(1)
        if (MAY_BE_MISSING.has(file)) continue
        assert.ok(existsSync(join(ROOT, file)), `${target}: there is no ${file}`)
        if (anchor !== undefined)
          assert.ok(anchorsOf(file).has(anchor), `${target}: ${file} has no heading #${anchor}`)
      }
    })

    it(`${page}: commands`, async () => {
      for (const { name, sub, flags } of commandsIn(withoutService(text))) {
        const help = await helpOf(name)
        assert.ok(help !== undefined, `there is no command tollgate ${name}`)
        if (sub !== '' && ['token', 'bans', 'rotate'].includes(name))
          assert.match(help, new RegExp(`tollgate ${name} [a-z|]*\\b${sub}\\b`), `${name} ${sub}`)
        for (const flag of flags)
          assert.ok(help.includes(flag), `tollgate ${name} knows no ${flag}`)
      }
    })

    it(`${page}: npm scripts`, async () => {
      for (const [, prefix, name = ''] of text.matchAll(
        /\bnpm (?:--prefix (\w+) )?run (?:--silent )?([a-z][a-z:]*)/g,
      )) {
        const { scripts } = JSON.parse(
          await readFile(join(ROOT, prefix ?? '', 'package.json'), 'utf8'),
        )
        assert.ok(Object.hasOwn(scripts, name), `there is no npm script ${name}`)
      }
    })
  }

  it('the table of the configuration page has every option', () => {
    const text = readFileSync(join(ROOT, 'docs/configuration.md'), 'utf8')
    for (const name of options) assert.ok(text.includes(`| \`${name}\` |`), name)
  })
})

describe('the first start', () => {
  it('goes as the README says', { timeout: 60_000 }, async (t) => {
    const { scripts } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))
    const [program, ...args] = scripts.start.split(' ')
    assert.equal(program, 'node')
    const stateDir = await mkdtemp(join(tmpdir(), 'tollgate-readme-'))
    t.after(() => rm(stateDir, { recursive: true, force: true }))
    const gateway = new Child(process.execPath, args, {
      cwd: ROOT,
      env: {
        ...withoutOurs(process.env),
        TOLLGATE_STATE_DIR: stateDir,
        TOLLGATE_GRPC_LISTEN: '127.0.0.1:0',
        TOLLGATE_HTTP_LISTEN: '127.0.0.1:0',
        TOLLGATE_ADMIN_LISTEN: '127.0.0.1:0',
      },
    })
    t.after(() => gateway.kill('SIGKILL'))
    await gateway.line('stdout', (line) => (line === 'Stop with Ctrl-C.' ? line : undefined))
    const printed = gateway.stdout.join('\n')

    const promised = promisedOutput()
    assert.ok(promised.length > 5, 'the README shows what is printed')
    for (const line of promised)
      assert.ok(withoutPorts(printed).includes(withoutPorts(line)), `not printed: ${line}`)
    assert.equal(gateway.stdout.filter((line) => line.startsWith('  ok ')).length, 6, printed)

    const setting = (name: string) =>
      new RegExp(`^ {2}export OTEL_EXPORTER_OTLP_${name}=(.+)$`, 'm').exec(printed)?.[1] ?? ''
    const [header = '', value = ''] = decodeURIComponent(setting('HEADERS')).split('=', 2)
    const answer = await post(`${setting('ENDPOINT')}/v1/traces`, {
      ca: await readFile(setting('CERTIFICATE'), 'utf8'),
      headers: { [header]: value, 'content-type': 'application/x-protobuf' },
    })
    assert.deepEqual(answer, { status: 200, body: '' })

    const metrics = await fetch(/http:\S+\/metrics/.exec(printed)?.[0] ?? '')
    assert.match(
      await metrics.text(),
      /^tollgate_outcomes_total\{protocol="http",signal="traces",outcome="accepted"\} 2$/m,
    )

    gateway.kill('SIGINT')
    assert.deepEqual(await gateway.exit, { code: 0, signal: null }, gateway.output)
  })
})

function familyNames(): string[] {
  const metrics = new Metrics({
    version: '0',
    hasProcessMetrics: false,
    // Read at a scrape, and there is none.
    readings: {
      bounds: { maxHeld: 0, maxConnections: 0, maxInFlightBytes: 0 },
      inFlightBytes: () => 0,
      tokens: () => ({ loaded: 0, sources: [] }),
      tokenUsage: () => [],
      bans: () => 0,
      limiterTables: () => [],
      certificates: () => undefined,
      isCollectorUp: () => false,
      lostLines: () => ({ log: 0, audit: 0 }),
    },
  })
  return [...metrics.families().map(({ name }) => name), ...new BackupMetrics().names()]
}

/** Code blocks and code spans of a page. */
function codeIn(text: string): string[] {
  const blocks = [...text.matchAll(/^```[^\n]*\n(.*?)^```/gms)].map(([, code = '']) => code)
  const prose = text.replace(/^```.*?^```/gms, '')
  const indented = [...prose.matchAll(/^ {4}\S.*$/gm)].map(([code]) => code)
  const spans = [...prose.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code)
  return [...blocks, ...indented, ...spans]
}

function withoutCode(text: string): string {
  return text.replace(/^```.*?^```/gms, '').replace(/`[^`\n]*`/g, '')
}

/** The commands of a page, with the options that follow on the same line. */
/** `docker compose exec tollgate tollgate check`: the first is the service. */
function withoutService(text: string): string {
  return text.replaceAll(' tollgate tollgate ', ' tollgate ')
}

function commandsIn(text: string): { name: string; sub: string; flags: string[] }[] {
  return codeIn(text)
    .flatMap((code) => code.replaceAll('\\\n', ' ').split('\n'))
    .filter((line) => !line.startsWith('#'))
    .flatMap((line) => [
      ...line.matchAll(
        /(?:^|[ /`;|&(])(?:tollgate|tg|npm (?:run --silent )?start --) ([a-z]+)(?: ([a-z]+))?([^#;&|>]*)/g,
      ),
    ])
    .map(([, name = '', sub = '', rest = '']) => ({
      name,
      sub,
      flags: [...rest.matchAll(/--[a-z][a-z-]*/g)].map(([flag]) => flag),
    }))
}

const helps = new Map<string, Promise<string | undefined>>()

/** What a command says of itself, all options included; undefined where there is no such command. */
function helpOf(name: string): Promise<string | undefined> {
  const known = helps.get(name) ?? askForHelp(name)
  helps.set(name, known)
  return known
}

async function askForHelp(name: string): Promise<string | undefined> {
  let text = ''
  const io = { write: (part: string) => (text += part) }
  const code = await dispatch([name, '--help'], {
    stdout: io,
    stderr: io,
    stdin: noInput(),
    env: {},
  })
  if (code !== 0) return undefined
  const flags = Object.values(OPTIONS).map(({ env }) => `${flagOf(env)} ${flagOf(env)}-file`)
  return `${text}\n${name === 'token' || name === 'bans' ? '' : flags.join(' ')}`
}

async function* noInput(): AsyncGenerator<string> {}

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(file: string): Set<string> {
  const text = readFileSync(join(ROOT, file), 'utf8').replace(/^```.*?^```/gms, '')
  return new Set(
    [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}

/** The lines that the README shows for `npm start`, without those it shortens. */
function promisedOutput(): string[] {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
  const [, shown = ''] = /npm ci && npm start\n```\n\n```text\n(.*?)^```/ms.exec(readme) ?? []
  return shown.split('\n').filter((line) => line !== '' && !line.includes('…'))
}

function withoutPorts(text: string): string {
  return text.replace(/(localhost|127\.0\.0\.1):\d+/g, '$1:PORT')
}

function withoutOurs(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('TOLLGATE_')))
}

async function post(
  url: string,
  { ca, headers }: { ca: string; headers: Record<string, string> },
): Promise<{ status: number | undefined; body: string }> {
  const asking = request(url, { method: 'POST', ca, headers, agent: false })
  asking.end()
  const [answer] = await once(asking, 'response')
  let body = ''
  answer.setEncoding('utf8')
  for await (const part of answer) body += part
  return { status: answer.statusCode, body }
}
