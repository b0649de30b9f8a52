/**
 * The pages for agents show the files that the tests run. `<!-- PATH -->` stands before a block that is
 * the whole file; `<!-- lines of PATH -->` before one whose lines all come from it, in this order.
 */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
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

function trimmed(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}
