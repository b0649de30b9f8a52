/** What Dokploy's API refuses of its input, as its schemas do. Part of the stand-in in dokploy.ts. */

export type Json = Record<string, unknown>

/** An answer that is none of success. */
export class Refused extends Error {
  readonly status: number
  readonly body: Json
  constructor(status: number, message: string, code: string, more: Json = {}) {
    super(message)
    this.status = status
    this.body = { message, code, ...more }
  }
}

/** Refuses an input that lacks one of these fields. */
export function require(input: Json, names: readonly string[]): void {
  const missing = names.filter((name) => input[name] === undefined)
  if (missing.length === 0) return
  const issues = missing.map((name) => ({
    code: 'invalid_type',
    path: [name],
    message: 'Required',
  }))
  throw new Refused(400, 'Input validation failed', 'BAD_REQUEST', { issues })
}

const SWARM_SETTINGS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  updateConfigSwarm: swarmUpdate(),
  rollbackConfigSwarm: swarmUpdate(),
  healthCheckSwarm: {
    Test: 'object',
    Interval: 'number',
    Timeout: 'number',
    StartPeriod: 'number',
    Retries: 'number',
  },
}

function swarmUpdate(): Readonly<Record<string, string>> {
  return {
    Parallelism: 'number',
    Delay: 'number',
    FailureAction: 'string',
    Monitor: 'number',
    MaxFailureRatio: 'number',
    Order: 'string',
  }
}

/** Settings of Swarm have these fields and no other; times are numbers of nanoseconds. */
export function checkSwarmSettings(input: Json): void {
  const wrong: string[] = []
  for (const [setting, fields] of Object.entries(SWARM_SETTINGS))
    for (const [name, value] of Object.entries((input[setting] ?? {}) as Json))
      if (typeof value !== fields[name]) wrong.push(`${setting}.${name}`)
  const { stopGracePeriodSwarm = null } = input
  if (stopGracePeriodSwarm !== null && typeof stopGracePeriodSwarm !== 'number')
    wrong.push('stopGracePeriodSwarm')
  if (wrong.length === 0) return
  const issues = wrong.map((path) => ({ code: 'invalid_type', path: path.split('.') }))
  throw new Refused(400, 'Input validation failed', 'BAD_REQUEST', { issues })
}
