import { readFileSync } from 'node:fs'
import type { CommandIo } from './io.ts'

/** The version of this package. */
export function ownVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

/** `tollgate version`: the version, and what it runs on. */
export async function runVersion(_argv: readonly string[], { stdout }: CommandIo): Promise<number> {
  const { node, openssl } = process.versions
  stdout.write(`tollgate ${ownVersion()} (Node.js ${node}, OpenSSL ${openssl})\n`)
  return 0
}
