/**
 * Prints the text that Dokploy's Import field takes: compose file and template.toml as one, in base64.
 * It is printed and not kept: nobody can read base64 in a review, and a copy would fall behind.
 *
 *   node docker/dokploy/import.ts                published ports, the gateway's own TLS
 *   node docker/dokploy/import.ts passthrough    behind Traefik on 443, which passes TLS on as it comes
 *   node docker/dokploy/import.ts http-router    behind Traefik on 443, which ends TLS
 */
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

/** The ways in. */
export const WAYS = ['ports', 'passthrough', 'http-router'] as const
export type Way = (typeof WAYS)[number]

/** The two files that make a template, as Dokploy's import wants them. */
export interface Blueprint {
  readonly compose: string
  readonly config: string
}

/** The template for a way in. The two behind Traefik change what `traefik/WAY.compose.yml` says. */
export async function blueprintOf(way: Way): Promise<Blueprint> {
  const compose = read('docker-compose.yml')
  const config = read('template.toml')
  if (way === 'ports') return { compose, config }
  // Not needed for the first way, which so runs in a checkout where nothing is installed.
  const { parse, stringify } = await import('yaml')
  const patched = mergePatch(parse(compose), parse(read(`traefik/${way}.compose.yml`)))
  return { compose: stringify(patched, { lineWidth: 0 }), config }
}

/** What is pasted into Dokploy. */
export function importTextOf({ compose, config }: Blueprint): string {
  return Buffer.from(JSON.stringify({ compose, config })).toString('base64')
}

/** RFC 7396: mappings are merged, null takes away, everything else replaces. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isMapping(patch)) return patch
  const merged = new Map(Object.entries(isMapping(target) ? target : {}))
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) merged.delete(name)
    else merged.set(name, mergePatch(merged.get(name), value))
  }
  return Object.fromEntries(merged)
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function read(name: string): string {
  return readFileSync(new URL(name, import.meta.url), 'utf8')
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [name = 'ports', ...more] = process.argv.slice(2)
  const way = WAYS.find((one) => one === name)
  if (way === undefined || more.length > 0) {
    const given = process.argv.slice(2).join(' ')
    process.stderr.write(`import.ts: expected one of ${WAYS.join(', ')}, not "${given}"\n`)
    process.exitCode = 64
  } else {
    process.stdout.write(`${importTextOf(await blueprintOf(way))}\n`)
  }
}
