/** What a rotation acts on, made from the environment: places, gateways, journal, clock, audit log. */
import { readFileSync } from 'node:fs'
import { uptime } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { controlSocketPath } from '../admin/control.ts'
import { type Config, parseConfig } from '../config/config.ts'
import { ConfigError } from '../config/config-error.ts'
import { Expected } from '../config/kind.ts'
import { OPTIONS } from '../config/options.ts'
import { AuditFile } from '../observe/audit.ts'
import { GatewayCalls } from '../rotation/gateway-calls.ts'
import { JournalFiles } from '../rotation/journal-files.ts'
import type { RotationEvent } from '../rotation/rotation.ts'
import type { Clock, World } from '../rotation/world.ts'
import { openDelivery } from '../secrets/open-delivery.ts'
import type { PlaceSettings } from '../secrets/open-source.ts'
import { openTruth } from '../secrets/open-truth.ts'
import { type Place, parsePlace } from '../secrets/place.ts'
import { placeSettingsOf } from '../token-places.ts'
import type { CommandIo } from './io.ts'
import { UsageError } from './token-entry.ts'

/** How long a program or a server may take over one delivery; Dokploy's deployments take minutes. */
const DELIVERY_MS = 600_000
const WRITABLE = /^(?:file|vault|aws):/
/** The variables that a rotation is concerned with; others need not be right, or there. */
const OURS = /^TOLLGATE_(?:STATE_DIR|AUDIT_LOG|AWS_|DOKPLOY_|VAULT_)/

/** What the environment says of rotations. */
export interface RotateSettings {
  readonly stateDir: string
  readonly auditLog: string | undefined
  /** Where the token set is kept, unless the command line says so. */
  readonly truth: string
  readonly config: Config
}

/** @throws {ConfigError} naming the variables that are wrong. */
export function settingsFrom(
  env: CommandIo['env'],
  stateDir: string | undefined,
  cwd: string,
): RotateSettings {
  const ours = Object.entries(env).filter(([name]) => OURS.test(name))
  const config = parseConfig(Object.fromEntries(ours), [], { cwd })
  const directory = resolve(cwd, stateDir ?? config.stateDir)
  return {
    stateDir: directory,
    auditLog: config.auditLog,
    truth: sourceFrom(env, cwd) ?? fileFrom(env, directory, cwd),
    config,
  }
}

export function journalOf({ stateDir }: RotateSettings): JournalFiles {
  return new JournalFiles(join(stateDir, 'rotations'))
}

/** The world of a rotation whose token set is kept at `truth`. Close its truth in the end. */
export async function worldOf(
  truth: string,
  settings: RotateSettings,
  tell: (event: RotationEvent) => Promise<void>,
): Promise<World> {
  const places = await placesOf(settings)
  const { dokployUrl: url, dokployApiKey } = settings.config
  const dokploy = { url, apiKey: dokployApiKey?.reveal() }
  return {
    truth: await openTruth(truthFrom(truth), places),
    gateways: gatewaysOf(settings),
    journal: journalOf(settings),
    clock: CLOCK,
    openDelivery: (text) =>
      openDelivery(placeFrom(text), { ...places, dokploy, timeoutMs: DELIVERY_MS }),
    tell,
  }
}

/** One for all places of a run: those in Vault then log in once. */
function placesOf(settings: RotateSettings): Promise<PlaceSettings> {
  const known = PLACES.get(settings) ?? placeSettingsOf(settings.config)
  PLACES.set(settings, known)
  return known
}

const PLACES = new WeakMap<RotateSettings, Promise<PlaceSettings>>()

export function gatewaysOf({ stateDir }: RotateSettings): GatewayCalls {
  return new GatewayCalls(controlSocketPath(stateDir))
}

export const CLOCK: Clock = {
  now: () => ({ wallMs: Date.now(), uptimeMs: Math.round(uptime() * 1000), boot: bootId() }),
  sleep: async (ms) => {
    await pause(ms)
  },
}

/**
 * Adds a line to the audit log, where there is one. That it cannot be written is told and does not
 * stop a rotation half-way.
 */
export async function audit(
  { auditLog: path }: RotateSettings,
  { name, holder, id, place }: RotationEvent,
  onFailure: (words: string) => void,
): Promise<void> {
  if (path === undefined) return
  const failed = (cause: unknown) => {
    onFailure(
      `the audit log ${path} cannot be written: ${cause instanceof Error ? cause.message : cause}`,
    )
  }
  try {
    const file = await AuditFile.open({ path, onFailure: failed, onRecovery: () => {} })
    file.write({ wallMs: Date.now(), event: 'rotation', reason: name, holder, token: id, place })
    await file.close()
  } catch (error) {
    failed(error)
  }
}

function sourceFrom(env: CommandIo['env'], cwd: string): string | undefined {
  const text = env.TOLLGATE_TOKENS_SOURCE
  if (text === undefined || text === '') return undefined
  const places = OPTIONS.tokensSource.kind.parse(text, { cwd })
  if (places instanceof Expected) {
    const message = `TOLLGATE_TOKENS_SOURCE: expected ${places.what}`
    throw new ConfigError([{ option: 'TOLLGATE_TOKENS_SOURCE', message }])
  }
  return places.find((place) => WRITABLE.test(place))
}

function fileFrom(env: CommandIo['env'], stateDir: string, cwd: string): string {
  const file = env.TOLLGATE_TOKENS_FILE
  return `file:${file === undefined || file === '' ? join(stateDir, 'tokens.json') : resolve(cwd, file)}`
}

/** The name of a file may hold a #, which has no meaning here. */
function truthFrom(text: string): Place {
  return text.startsWith('file:')
    ? { scheme: 'file', path: text.slice('file:'.length), field: undefined, text }
    : placeFrom(text)
}

function placeFrom(text: string): Place {
  const place = parsePlace(text)
  if (place === undefined)
    throw new UsageError(`${JSON.stringify(text)}: expected a place such as file:/run/agent/token`)
  return place
}

let boot: string | undefined

function bootId(): string {
  if (boot !== undefined) return boot
  try {
    boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    boot = 'unknown'
  }
  return boot
}
