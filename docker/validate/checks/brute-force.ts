/** Guessing tokens, by siege, while an honest agent beside it goes on. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Check } from '../check.ts'
import { exportRequest } from '../otlp-message.ts'
import { connect, isTaken, sendOn } from '../probe.ts'
import { commandLine, run } from '../programs.ts'
import { judged, type Row, skipped } from '../row.ts'
import { authority, mainAddress, type Target } from '../target.ts'

const NAME = 'brute force'
const USERS = 2
const ROUNDS = 8
/** siege tries again four times after a 401: see siegerc. */
const TRIES_EACH = ROUNDS * 5
/** Fewer would be no proof of a ban. */
const LEAST_REFUSED = 5
const SETTINGS = 'docker/validate/siegerc'
const AGENT_PAUSE_MS = 100
/** How long the honest agent goes on at least, and how long after the attack. */
const AGENT_REQUESTS = 20
const AGENT_AFTER = 5
/** What siege met. It tells of answers and of closed connections in two outputs, so their order is lost. */
export interface Attack {
  /** The status of each answer, or 0 for a connection that was closed. */
  readonly results: readonly number[]
  /** How long the answers took that were none of a ban, one after another. */
  readonly guessedSeconds: number
}

/** Reads both outputs of siege, verbose. */
export function readAttack(output: string): Attack {
  const results: number[] = []
  let guessedSeconds = 0
  for (const line of output.split('\n')) {
    const answer = /^HTTP\/\d\.\d (\d{3})\s+([\d.]+) secs:/.exec(line)
    const isClosed = /error.*(?:SSL|socket|reset|refused|pipe)/i.test(line)
    if (answer === null && !isClosed) continue
    const status = Number(answer?.[1] ?? 0)
    results.push(status)
    if (!isRefusal(status)) guessedSeconds += Number(answer?.[2] ?? 0)
  }
  return { results, guessedSeconds }
}

function isRefusal(status: number): boolean {
  return status === 0 || status === 403
}

/** 401 until the ban, refused from then on, and no more tries than the strikes allow. */
export function judgeAttack(attack: Attack, strikes: number, byHand: string): readonly Row[] {
  const { results, guessedSeconds } = attack
  const told = [...new Set(results)]
    .map((status) => {
      const count = results.filter((each) => each === status).length
      return `${count} × ${status === 0 ? 'closed' : status}`
    })
    .join(', ')
  const wrong = results.filter((status) => ![0, 401, 403].includes(status))
  const guesses = results.filter((status) => status === 401).length
  const refused = results.filter(isRefusal).length
  // Those under way at the same moment are still answered. Everybody else is not, in whatever order.
  const isBanned = refused >= LEAST_REFUSED && guesses <= strikes + USERS
  return [
    judged(
      NAME,
      'a wrong token is answered by 401, and after a ban by 403 or not at all',
      guesses > 0 && wrong.length === 0,
      told === '' ? 'siege made no request' : told,
      byHand,
    ),
    judged(
      NAME,
      `banned after ${strikes} tries`,
      isBanned,
      isBanned
        ? `after ${guesses} tries, ${guessedSeconds.toFixed(2)} s`
        : `${guesses} tries were answered, ${refused} refused`,
      byHand,
    ),
  ]
}

/** Every request of the agent was taken, before, during and after the attack. */
export function judgeAgent(sent: number, taken: number, firstFault: string): Row {
  const figure = `${taken} of ${sent} taken${taken < sent ? `: ${firstFault}` : ''}`
  const isGood = sent >= AGENT_REQUESTS && taken === sent
  return judged(NAME, 'an honest agent beside it loses nothing', isGood, figure, '–')
}

/** Sends ten times a second until told to stop. */
function startAgent(target: Target) {
  const client = connect(target, {
    way: 'gRPC',
    port: target.grpcPort,
    from: target.sources.agent,
  })
  let isOver = false
  let sent = 0
  let taken = 0
  let fault = ''
  const going = (async () => {
    for (let more = AGENT_AFTER; more > 0 || sent < AGENT_REQUESTS; more -= isOver ? 1 : 0) {
      const mark = { run: 'agent', way: 'gRPC', device: 'validate' }
      const message = exportRequest('traces', mark, Date.now())
      const outcome = await sendOn(client, target, target.grpcPort, { message })
      sent += 1
      if (isTaken(outcome)) taken += 1
      else fault ||= 'fault' in outcome ? outcome.fault : `gRPC ${outcome.answer.grpcStatus}`
      await pause(AGENT_PAUSE_MS)
    }
    client.close()
    return judgeAgent(sent, taken, fault)
  })()
  return {
    stop() {
      isOver = true
      return going
    },
  }
}

async function attack(target: Target): Promise<{ seen: Attack; byHand: string }> {
  // It keeps files of its own in the home folder.
  const home = await mkdtemp(join(tmpdir(), 'tollgate-siege-'))
  try {
    const url = `https://${authority(mainAddress(target), target.httpPort)}/v1/traces POST {}`
    const args = [
      ...['-R', SETTINGS, '-b', '-c', String(USERS), '-r', String(ROUNDS)],
      ...['-T', 'application/json', '-H', 'Authorization: Bearer not-the-token', url],
    ]
    const { stdout, stderr } = await run('siege', args, {
      timeoutMs: 90_000,
      env: { HOME: home },
    })
    return { seen: readAttack(`${stdout}\n${stderr}`), byHand: commandLine('siege', args) }
  } finally {
    await rm(home, { recursive: true, force: true })
  }
}

/** Looks for the bans that the attack brought, lifts them, and sees whether that helps. */
async function lift(target: Target, before: readonly string[]): Promise<Row> {
  const expected = 'the ban can be lifted'
  const { inside } = target
  const byHand = 'tollgate bans list; tollgate bans lift ADDRESS'
  if (inside === undefined)
    return skipped(NAME, expected, 'on the server: tollgate bans lift ADDRESS', byHand)
  const banned = (await inside.bans()).filter((address) => !before.includes(address))
  if (banned.length === 0) return judged(NAME, expected, false, 'no address is banned', byHand)
  for (const address of banned) await inside.lift(address)
  const client = connect(target, { way: 'HTTP/1.1', port: target.httpPort, from: undefined })
  const outcome = await sendOn(client, target, target.httpPort, { token: 'not-the-token-either' })
  client.close()
  const isGood = 'answer' in outcome && outcome.answer.httpStatus === 401
  const seen = 'fault' in outcome ? outcome.fault : String(outcome.answer.httpStatus)
  return judged(NAME, expected, isGood, `${banned.join(', ')} lifted, then ${seen}`, byHand)
}

export const bruteForceCheck: Check = {
  name: NAME,
  effort: 'ban',
  programs: ['siege'],
  limitSeconds: 150,
  plan: () =>
    `tries a wrong token up to ${USERS * TRIES_EACH} times with siege; the address it comes from is banned afterwards`,
  async run(target) {
    const { agent } = target.sources
    const before = (await target.inside?.bans()) ?? []
    const honest = agent === undefined ? undefined : startAgent(target)
    const { seen, byHand } = await attack(target)
    const beside =
      honest === undefined
        ? skipped(
            NAME,
            'an honest agent beside it loses nothing',
            'needs a second address: --agent-address',
          )
        : await honest.stop()
    return [...judgeAttack(seen, target.strikes, byHand), beside, await lift(target, before)]
  },
}
