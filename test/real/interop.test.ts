/**
 * Other people's gRPC libraries against the gateway, with raw bytes in and out: each goes through the
 * same seeded cases, and a collector that does as it is told looks at what arrives. .NET's is missing:
 * there is no SDK of it in the registries that the tests may use.
 */
import { type TestContext, test } from 'node:test'
import { hasTools } from '../support/tools.ts'
import { CLIENT_TOOLS, LIBRARIES, type Library } from './clients/driver.ts'
import { ENDING_CASES } from './clients/ending-cases.ts'
import { Keepalive } from './clients/keepalive.ts'
import { MESSAGE_CASES } from './clients/message-cases.ts'
import { METADATA_CASES } from './clients/metadata-cases.ts'
import { Scene } from './clients/scene.ts'

const CASES = [...MESSAGE_CASES, ...METADATA_CASES, ...ENDING_CASES]
const CASE_TIMEOUT_MS = 60_000

/** What became of each case with each library. */
const table = new Map<string, Map<Library, string>>()

test('gRPC libraries', async (t) => {
  if (!hasTools(t, 'openssl', ...LIBRARIES.flatMap((library) => CLIENT_TOOLS[library]))) return
  // It takes its time beside all else.
  const keepalive = await Keepalive.start(LIBRARIES)
  try {
    for (const library of LIBRARIES) await t.test(library, (part) => allCases(part, library))
    await t.test('keepalive pings', { timeout: CASE_TIMEOUT_MS }, async (part) => {
      await keepalive.untilPinged()
      for (const library of LIBRARIES)
        await record(part, library, 'keepalive pings', () => keepalive.finish(library), library)
    })
  } finally {
    await keepalive.close()
    for (const line of lines()) t.diagnostic(line)
  }
})

async function allCases(t: TestContext, library: Library): Promise<void> {
  const scene = await Scene.open(library)
  try {
    for (const { title, run } of CASES) await record(t, library, title, () => run(scene))
  } finally {
    for (const line of scene.driver.errors.slice(-20)) t.diagnostic(line)
    await scene.close()
  }
}

/** Runs a case as a test of its own, and keeps what became of it for the table. */
async function record(
  t: TestContext,
  library: Library,
  title: string,
  run: () => Promise<string | undefined>,
  testTitle = title,
): Promise<void> {
  const cells = table.get(title) ?? new Map<Library, string>()
  table.set(title, cells)
  cells.set(library, 'FAILED')
  await t.test(testTitle, { timeout: CASE_TIMEOUT_MS }, async () => {
    cells.set(library, (await run()) ?? 'ok')
  })
}

function lines(): string[] {
  const row = (title: string, cell: (library: Library) => string) =>
    `${title.padEnd(40)}${LIBRARIES.map((library) => cell(library).padEnd(20)).join('')}`.trimEnd()
  return [
    row('', (library) => library),
    ...[...table].map(([title, cells]) => row(title, (library) => cells.get(library) ?? '-')),
  ]
}
