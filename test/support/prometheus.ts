/** A real Prometheus with the configuration as it is shipped, made faster and pointed at a test's own programs. */
import assert from 'node:assert/strict'
import { cp, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { PROMETHEUS } from './alert-rules.ts'
import { Child } from './child.ts'
import { tool } from './tools.ts'

/** A series at one time. */
export interface Sample {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [number, string]
}

/** Asks the API of a Prometheus at `host:port`; `path` is what follows `/api/v1/`. */
export async function ask<T>(prometheus: string, path: string): Promise<T> {
  const answer = await fetch(`http://${prometheus}/api/v1/${path}`)
  const text = await answer.text()
  assert.equal(answer.status, 200, `${path}: ${text}`)
  return (JSON.parse(text) as { readonly data: T }).data
}

/** What an expression is worth now. */
export async function query(prometheus: string, expr: string): Promise<readonly Sample[]> {
  const path = `query?query=${encodeURIComponent(expr)}`
  return (await ask<{ readonly result: readonly Sample[] }>(prometheus, path)).result
}

/** A page that says the same to everybody, on a free port of 127.0.0.1. Returns `host:port`. */
export async function startPage(t: TestContext, text: string): Promise<string> {
  const server = createServer((_, answer) => {
    answer.setHeader('content-type', 'text/plain; version=0.0.4; charset=utf-8').end(text)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  return `127.0.0.1:${address.port}`
}

/** A program that runs until the end of the test. */
export function startProgram(t: TestContext, name: string, args: readonly string[]): Child {
  const child = new Child(tool(name), args)
  t.after(async () => {
    child.kill('SIGTERM')
    await child.exit
  })
  return child
}

/**
 * Copies prometheus.yml and the rules to `folder`, every second in place of every quarter of a minute
 * and without Alertmanager. `targets` says where each target of the file is in truth.
 */
export async function layOutPrometheus(
  folder: string,
  targets: Readonly<Record<string, string>>,
): Promise<void> {
  await cp(join(PROMETHEUS, 'rules'), join(folder, 'rules'), { recursive: true })
  await rewrite(join(PROMETHEUS, 'prometheus.yml'), join(folder, 'prometheus.yml'), (text) => {
    let changed = text.replace(
      /^ {2}(scrape_interval|scrape_timeout|evaluation_interval): .*$/gm,
      '  $1: 1s',
    )
    for (const [from, to] of Object.entries(targets)) {
      assert.ok(changed.includes(from), from)
      changed = changed.replaceAll(from, to)
    }
    return changed.replace(/^alerting:\n(?: +.*\n)+/m, '')
  })
}

/** Starts a Prometheus on what was laid out in `folder`, until the end of the test. */
export function startPrometheus(
  t: TestContext,
  folder: string,
  listen: string,
  program = 'prometheus',
): Child {
  return startProgram(t, program, [
    `--config.file=${join(folder, 'prometheus.yml')}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
    '--storage.tsdb.retention.time=30d',
    '--storage.tsdb.retention.size=8GB',
    `--web.listen-address=${listen}`,
    '--web.enable-admin-api',
  ])
}

/** Writes to a file what `change` makes of another, or of the same. */
export async function rewrite(
  from: string,
  to: string,
  change: (text: string) => string,
): Promise<void> {
  await writeFile(to, change(await readFile(from, 'utf8')))
}
