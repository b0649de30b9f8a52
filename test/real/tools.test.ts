/** The commands and the collector's configuration in docs/agents.md, run as they stand there. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Child, runToEnd } from '../support/child.ts'
import { freePorts, type Otelcol, startOtelcol } from '../support/otelcol.ts'
import { type Gateway, spawnGateway, TOKEN } from '../support/spawn-gateway.ts'
import { hasTools, ROOT, tool } from '../support/tools.ts'

const PAGE = await readFile(join(ROOT, 'docs/agents.md'), 'utf8')

/** The fenced blocks of a language under a heading of the page, up to the next heading. */
function blocks(heading: string, language: string): string[] {
  const [, section] = PAGE.split(new RegExp(`^#+ ${heading}$`, 'm'))
  assert.ok(section !== undefined, `no heading "${heading}" in docs/agents.md`)
  const fence = new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\`$`, 'gm')
  // A heading, and not a comment in a block: no block here has a line that begins with two hashes.
  return [...(section.split(/^##+ /m)[0] ?? '').matchAll(fence)].map(([, text]) => text ?? '')
}

interface Bench {
  readonly backend: Otelcol
  readonly gateway: Gateway
  readonly folder: string
}

async function withBench(
  t: TestContext,
  tools: readonly string[],
  use: (bench: Bench) => Promise<void>,
) {
  if (!hasTools(t, 'otelcol', 'openssl', 'bash', ...tools)) return
  await using backend = await startOtelcol()
  await using gateway = await spawnGateway({
    collector: { grpc: backend.grpc, http: backend.http },
    env: { TOLLGATE_RATE: 'off' },
  })
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-tools-'))
  try {
    await use({ backend, gateway, folder })
    await gateway.assertInvariant()
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Runs a block of the page with the page's variables and this gateway's ports. */
async function run(block: string, { gateway, folder }: Bench): Promise<string> {
  const portOf = (address: string) => address.replace(/^.*:/, ':')
  const script = block
    .replaceAll('$GATEWAY:4317', `$GATEWAY${portOf(gateway.grpc)}`)
    .replaceAll('$GATEWAY:4318', `$GATEWAY${portOf(gateway.http)}`)
  const path = [join(ROOT, '.tools/bin'), join(ROOT, '.tools/python/bin'), process.env.PATH]
  const { code, stdout, stderr } = await runToEnd('bash', ['-euo', 'pipefail', '-c', script], {
    cwd: folder,
    env: {
      HOME: process.env.HOME,
      PATH: path.join(delimiter),
      GATEWAY: 'localhost',
      TOKEN,
      CA: gateway.certificate,
    },
  })
  assert.equal(code, 0, `${script}\n${stdout}\n${stderr}`)
  return stdout
}

/** Waits for the numbers to be whole: what is accepted has been written once the collector stopped. */
async function arrived({ backend }: Bench) {
  await backend.stop()
  return await backend.total()
}

test('curl sends a span as JSON', async (t) => {
  await withBench(t, ['curl'], async (bench) => {
    const [command = ''] = blocks('curl', 'sh')
    assert.match(await run(command, bench), /^\{("partialSuccess":\{\})?\}$/)
    assert.deepEqual(await bench.gateway.outcomes(), { accepted: 1 })
    assert.deepEqual(await arrived(bench), { spans: 1, points: 0, logs: 0 })
  })
})

test('telemetrygen sends all three signals', async (t) => {
  await withBench(t, ['telemetrygen'], async (bench) => {
    const [command = ''] = blocks('telemetrygen', 'sh')
    await run(command, bench)
    assert.deepEqual(Object.keys(await bench.gateway.outcomes()), ['accepted'])
    // A trace of telemetrygen is a span and its child.
    assert.deepEqual(await arrived(bench), { spans: 20, points: 10, logs: 10 })
  })
})

test('grpcurl and ghz send log records', async (t) => {
  await withBench(t, ['grpcurl', 'ghz', 'python-sender'], async (bench) => {
    const [install, definitions = '', commands = ''] = blocks('grpcurl and ghz', 'sh')
    // The package is in the senders' environment already.
    assert.match(install ?? '', /^pip install/)
    await run(definitions, bench)
    assert.match(await run(commands, bench), /\[OK\]\s+200 responses/)
    assert.deepEqual(await bench.gateway.outcomes(), { accepted: 201 })
    assert.deepEqual(await arrived(bench), { spans: 0, points: 0, logs: 201 })
  })
})

test('h2load loads both ports', async (t) => {
  await withBench(t, ['curl', 'h2load'], async (bench) => {
    const [traceFile = ''] = blocks('curl', 'sh')
    const [commands = ''] = blocks('h2load', 'sh')
    await run(traceFile.replace(/^curl [\s\S]*/m, ''), bench)
    const output = await run(commands, bench)
    const succeeded = [...output.matchAll(/(\d+) succeeded/g)].map(([, count]) => Number(count))
    assert.deepEqual(succeeded, [200, 200, 200])
    assert.deepEqual(await bench.gateway.outcomes(), { accepted: 600 })
    assert.deepEqual(await arrived(bench), { spans: 400, points: 0, logs: 0 })
  })
})

test('a collector as the agent sends over gRPC and over HTTP', async (t) => {
  await withBench(t, ['telemetrygen'], async (bench) => {
    const { backend, gateway, folder } = bench
    const [written = ''] = blocks('Collector', 'yaml')
    const overHttp = written
      .replaceAll('otlp_grpc', 'otlp_http')
      .replace('telemetry.example.com:4317', 'https://telemetry.example.com:4318')
    await writeFile(join(folder, 'token'), TOKEN)
    for (const [index, yaml] of [written, overHttp].entries()) {
      const [grpcPort, httpPort] = await freePorts(2)
      const config = yaml
        .replace('127.0.0.1:4317', `127.0.0.1:${grpcPort}`)
        .replace('127.0.0.1:4318', `127.0.0.1:${httpPort}`)
        .replace('telemetry.example.com:4317', gateway.grpc.replace('127.0.0.1', 'localhost'))
        .replace('telemetry.example.com:4318', gateway.http.replace('127.0.0.1', 'localhost'))
        .replace('/etc/otelcol/token', join(folder, 'token'))
        .replace('/etc/tollgate/ca.pem', gateway.certificate)
      const file = join(folder, `agent${index}.yaml`)
      // Only so that two collectors on a machine do not quarrel about port 8888.
      await writeFile(file, `${config}  telemetry: { metrics: { level: none } }\n`)
      const agent = new Child(tool('otelcol'), ['--config', file])
      await agent.line('stderr', (line) =>
        line.includes('Everything is ready') ? true : undefined,
      )
      const sent = await runToEnd(tool('telemetrygen'), [
        ...['traces', '--otlp-insecure', '--otlp-endpoint', `127.0.0.1:${grpcPort}`],
        ...['--traces', '10', '--rate', '0'],
      ])
      assert.equal(sent.code, 0, sent.stderr)
      // Its queue empties before it ends.
      agent.kill('SIGTERM')
      assert.equal((await agent.exit).code, 0, agent.output)
    }
    assert.deepEqual(Object.keys(await gateway.outcomes()), ['accepted'])
    await backend.stop()
    assert.deepEqual(await backend.total(), { spans: 40, points: 0, logs: 0 })
  })
})
