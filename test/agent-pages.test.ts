/**
 * The pages for agents show the files that the tests run. `<!-- PATH -->` stands before a block that is
 * the whole file; `<!-- lines of PATH -->` before one whose lines all come from it, in this order.
 */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { testCa } from './support/certs.ts'
import { runToEnd } from './support/child.ts'
import { ROOT } from './support/tools.ts'

const PAGES = globSync('docs/agents/*.md', { cwd: ROOT }).toSorted()
const BLOCK = /^<!-- (lines of )?(\S+) -->\n+```[^\n]*\n(.*?)^```$/gms

/** What a page is for: each has to be shown whole. */
const SHOWN = [
  'test/real/agents/collector/config.yaml',
  'test/real/agents/go/otlptoken.go',
  'test/real/agents/java/src/main/java/otlptoken/TokenFile.java',
  'test/real/agents/java/src/main/resources/META-INF/services/io.opentelemetry.sdk.autoconfigure.spi.AutoConfigurationCustomizerProvider',
  'test/real/agents/javascript/otlp-token.mjs',
  'test/real/agents/python/otlp_token.py',
  'test/real/agents/python/pyproject.toml',
]

interface Block {
  readonly page: string
  readonly file: string
  readonly isWhole: boolean
  readonly code: string
}

const BLOCKS: readonly Block[] = PAGES.flatMap((page) =>
  [...read(page).matchAll(BLOCK)].map(([, lines, file = '', code = '']) => ({
    page,
    file,
    isWhole: lines === undefined,
    code,
  })),
)

test('every provider is on a page', () => {
  assert.deepEqual(
    SHOWN.filter((file) => !BLOCKS.some((block) => block.isWhole && block.file === file)),
    [],
  )
})

for (const { page, file, isWhole, code } of BLOCKS) {
  test(`${page} shows ${isWhole ? 'all' : 'lines'} of ${file} as it is`, () => {
    if (isWhole) {
      assert.equal(code, read(file))
      return
    }
    const lines = trimmed(read(file))
    let at = -1
    for (const line of trimmed(code)) {
      at = lines.indexOf(line, at + 1)
      assert.notEqual(at, -1, `not there, or not behind the line before: ${line}`)
    }
  })
}

test('docs/agents/javascript.md: its examples run', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'agent-pages-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  await writeFile(join(folder, 'token'), 'a-token-of-the-tests')
  await writeFile(join(folder, 'ca.pem'), (await testCa()).cert)
  const examples = [...read('docs/agents/javascript.md').matchAll(/^```js\n(.*?)^```/gms)]
    .map(([, code = '']) => code)
    .filter((code) => code.includes('new TokenFile('))
  assert.equal(examples.length, 2)
  for (const code of examples) {
    const provider = join(ROOT, 'test/real/agents/javascript/otlp-token.mjs')
    const program = code
      .replace('./otlp-token.mjs', pathToFileURL(provider).href)
      .replace('/run/agent/token', join(folder, 'token'))
      .replace('/etc/tollgate/ca.pem', join(folder, 'ca.pem'))
      .concat('console.log(token.token, typeof exporter.export)')
    const ended = await runToEnd(process.execPath, ['--input-type=module', '-e', program], {
      cwd: ROOT,
    })
    assert.equal(ended.stdout, 'a-token-of-the-tests function', ended.stderr)
  }
})

function trimmed(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}
