/** The files in docker/grafana/dashboards, held against Grafana's own types by the compiler. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { runToEnd } from '../../support/child.ts'
import { GRAFANA } from '../../support/dashboards.ts'
import { ROOT } from '../../support/tools.ts'

/**
 * In JSON a member of an enum is its bare text or number, which TypeScript does not take for it. What
 * Grafana keeps out of its types because each data source has its own is left as it is.
 */
const AS_JSON = `import type { AnnotationQuery, Dashboard } from '@grafana/schema'
type AsJson<T> = T extends string ? \`\${T}\` : T extends number ? (\`\${T}\` extends \`\${infer N extends number}\` ? N : never)
  : T extends object ? { [K in keyof T]: AsJson<T[K]> } : T
type Annotation = AsJson<AnnotationQuery> & { titleFormat: string; textFormat: string; tagKeys: string; target: { expr: string } }
type File = Omit<AsJson<Dashboard>, 'annotations'> & { annotations: { list: Annotation[] } }
`

/** What the compiler says about a file with these dashboards. */
async function compile(dashboards: Readonly<Record<string, string>>): Promise<string> {
  // Below the project, so that the package is found.
  const folder = await mkdtemp(join(ROOT, 'node_modules/.tollgate-dashboards-'))
  try {
    const literals = Object.entries(dashboards).map(
      ([name, json]) => `export const ${name} = ${json.trimEnd()} satisfies File\n`,
    )
    const path = join(folder, 'dashboards.ts')
    await writeFile(path, AS_JSON + literals.join(''))
    const flags = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--types', '']
    const { stdout, stderr } = await runToEnd(
      join(ROOT, 'node_modules/.bin/tsc'),
      ['--ignoreConfig', ...flags, path],
      { cwd: folder },
    )
    return stdout + stderr
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

test('every dashboard is one by the types of @grafana/schema, and a wrong one is not', async () => {
  const files = globSync('*.json', { cwd: join(GRAFANA, 'dashboards') })
  assert.ok(files.length > 0)
  const texts = Object.fromEntries(
    files.map((file) => [
      file.replace('.json', ''),
      readFileSync(join(GRAFANA, 'dashboards', file), 'utf8'),
    ]),
  )
  assert.equal(await compile(texts), '')

  const { overview = '' } = texts
  for (const [right, wrong] of [
    ['"graphTooltip": 1', '"graphTooltip": 3'],
    ['"mode": "absolute"', '"mode": "absolut"'],
    ['"refresh": "30s"', '"refresh": 30'],
    ['"w": 3', '"w": "3"'],
    ['"editable": true', '"editabel": true'],
  ] as const) {
    const broken = overview.replace(right, wrong)
    assert.notEqual(broken, overview, right)
    assert.match(await compile({ overview: broken }), /error TS/, wrong)
  }
})
