/** Without the SDK of AWS the gateway says how to get it, and only where it is needed. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { runToEnd } from '../../../support/child.ts'
import { ROOT } from '../../../support/tools.ts'

/** Run first in the process: what npm leaves out where an optional package could not be installed. */
const WITHOUT_SDK = `data:text/javascript,${encodeURIComponent(`
  import { registerHooks } from 'node:module'
  registerHooks({
    resolve(name, context, next) {
      if (!name.startsWith('@aws-sdk/')) return next(name, context)
      throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' })
    },
  })
`)}`

for (const [source, code, words] of [
  [
    'aws:otel',
    69,
    /aws:otel: the package for AWS is not installed; install it beside Tollgate with npm install @aws-sdk\/client-secrets-manager/,
  ],
  ['file:/nowhere/tokens.json', 66, /cannot read \/nowhere\/tokens\.json/],
] as const)
  test(`a start with ${source}`, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'tollgate-no-sdk-'))
    t.after(() => rm(folder, { recursive: true, force: true }))
    const result = await runToEnd(
      process.execPath,
      ['--import', WITHOUT_SDK, join(ROOT, 'src/main.ts'), 'serve'],
      {
        cwd: folder,
        env: {
          ...process.env,
          TOLLGATE_PARENT: 'off',
          TOLLGATE_ADMIN_LISTEN: 'off',
          TOLLGATE_GRPC_LISTEN: '127.0.0.1:0',
          TOLLGATE_HTTP_LISTEN: '127.0.0.1:0',
          TOLLGATE_COLLECTOR_HTTP: 'http://127.0.0.1:1',
          TOLLGATE_TOKENS_SOURCE: source,
        },
      },
    )
    assert.equal(result.code, code, result.stderr)
    assert.match(result.stderr, words)
  })
