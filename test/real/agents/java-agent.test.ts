/**
 * Java's provider as an extension of the Java agent, in a program that knows nothing of it. A scripted
 * collector stands in for the gateway, as in refused-once.test.ts.
 */
import assert from 'node:assert/strict'
import { renameSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { countItems } from '../../../src/otlp/count.ts'
import { Child } from '../../support/child.ts'
import { startCollector } from '../../support/collector.ts'
import { hasTools, tool } from '../../support/tools.ts'

const APP = fileURLToPath(new URL('java-agent/App.java', import.meta.url))
const SPANS = 80
const GRPC_PREFIX_BYTES = 5

for (const protocol of ['grpc', 'http/protobuf']) {
  test(`the Java agent, ${protocol}: a new token is taken without a restart, and nothing is lost`, async (t) => {
    if (!hasTools(t, 'java', 'java-sender', 'java-provider', 'java-agent')) return
    const folder = await mkdtemp(join(tmpdir(), 'tollgate-java-agent-'))
    t.after(() => rm(folder, { recursive: true, force: true }))
    const file = join(folder, 'token')
    await writeFile(file, 'the-old-token')
    const gateway = await startCollector()
    t.after(() => gateway.die())
    const port = protocol === 'grpc' ? gateway.grpcPort : gateway.httpPort
    const api = tool('java-sender').replace(/[^/]*$/, 'dependency/*')
    const options = [
      `-javaagent:${tool('java-agent')}`,
      `-Dotel.javaagent.extensions=${tool('java-provider')}`,
    ]
    const app = new Child(tool('java'), [...options, '-cp', api, APP, String(SPANS)], {
      env: {
        PATH: process.env.PATH,
        OTLP_TOKEN_FILE: file,
        // It takes a program that is compiled as it starts for a tool of the JDK, and stays away from it.
        OTEL_JAVAAGENT_ENABLED: 'true',
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
        OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
        OTEL_METRICS_EXPORTER: 'none',
        OTEL_LOGS_EXPORTER: 'none',
        OTEL_BSP_SCHEDULE_DELAY: '500',
      },
    })
    t.after(() => app.kill('SIGKILL'))
    const early = app.exit.then(() => assert.fail(`nothing was sent: ${app.output}`))
    await Promise.race([gateway.hasReached(2), early])
    early.catch(() => {})
    const index = gateway.reached.length
    gateway.script({ kind: 'refuse', status: 16, httpStatus: 401 })
    const look = () => {
      if (gateway.reached.length <= index) return
      gateway.off('change', look)
      writeFileSync(`${file}.new`, 'the-new-token')
      renameSync(`${file}.new`, file)
    }
    gateway.on('change', look)
    const { code } = await app.exit
    assert.equal(code, 0, app.output)
    const tokens = gateway.reached.map(({ headers }) => headers.authorization)
    assert.equal(tokens[index], 'Bearer the-old-token')
    assert.deepEqual(
      new Set(tokens.slice(index + 1)),
      new Set(['Bearer the-new-token']),
      app.output,
    )
    const prefix = protocol === 'grpc' ? GRPC_PREFIX_BYTES : 0
    const spans = gateway.reached
      .filter((_, at) => at !== index)
      .reduce((sum, { bytes }) => sum + countItems('traces', bytes().subarray(prefix)), 0)
    assert.equal(spans, SPANS, app.output)
  })
}
