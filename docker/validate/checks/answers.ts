/** What the server answers to those who have no token, ask for the wrong thing, or are curious. */
import { GRPC_PATHS } from '../../../src/otlp/signal.ts'
import type { Answer } from '../../../test/support/client.ts'
import { curl, EMPTY_EXPORT } from '../by-hand.ts'
import type { Check } from '../check.ts'
import { exportRequest, type SentSignal } from '../otlp-message.ts'
import { type Outcome, probe, shortly } from '../probe.ts'
import { judged, type Row } from '../row.ts'
import type { Target } from '../target.ts'

const NAME = 'answers'
const UNAUTHENTICATED = 16

/** A request that was made, and what came of it. */
export interface Asked {
  readonly what: string
  readonly outcome: Outcome
}

/** 401 with WWW-Authenticate over HTTP, UNAUTHENTICATED over gRPC. */
export function judgeWithoutToken(outcome: Outcome, byHand: string): Row {
  const isGrpc = 'answer' in outcome && outcome.answer.way === 'gRPC'
  const expected = 'without a token: 401 with WWW-Authenticate, UNAUTHENTICATED over gRPC'
  if ('fault' in outcome) return judged(NAME, expected, false, outcome.fault, byHand)
  const { httpStatus, grpcStatus, headers } = outcome.answer
  const scheme = headers['www-authenticate']
  const isGood = isGrpc
    ? grpcStatus === UNAUTHENTICATED
    : httpStatus === 401 && typeof scheme === 'string' && /^bearer\b/i.test(scheme)
  const figure = `${outcome.answer.way}: ${shortly(outcome)}${isGrpc ? '' : `, WWW-Authenticate: ${scheme ?? 'none'}`}`
  return judged(NAME, expected, isGood, figure, byHand)
}

/** A redirected export is lost, so there may be none. */
export function judgeRedirects(asked: readonly Asked[], byHand: string): Row {
  const expected = 'no answer is a redirect'
  const wrong = asked.filter(
    ({ outcome }) =>
      'answer' in outcome && outcome.answer.httpStatus >= 300 && outcome.answer.httpStatus < 400,
  )
  const answers = answered(asked).length
  const figure =
    wrong.length > 0
      ? wrong.map(({ what, outcome }) => `${what}: ${shortly(outcome)}`).join(', ')
      : `none of ${answers} answers`
  return judged(NAME, expected, answers > 0 && wrong.length === 0, figure, byHand)
}

/** The metrics of the gateway are no stranger's business. */
export function judgeMetricsPage(asked: readonly Asked[], byHand: string): Row {
  const expected = '/metrics is not served on the public ports'
  const open = asked.filter(
    ({ outcome }) =>
      'answer' in outcome &&
      (outcome.answer.httpStatus === 200 || /^# (?:HELP|TYPE) /m.test(textOf(outcome.answer))),
  )
  const figure = (open.length > 0 ? open : asked)
    .map(({ what, outcome }) => `${what}: ${shortly(outcome)}`)
    .join(', ')
  return judged(NAME, expected, answered(asked).length > 0 && open.length === 0, figure, byHand)
}

/** No answer names the inside: a known name, or any address with a port. */
export function judgeSecrets(
  asked: readonly Asked[],
  secrets: readonly string[],
  byHand: string,
): Row {
  const expected = 'no answer tells an address of the inside'
  const told = asked.flatMap(({ what, outcome }) => {
    if ('fault' in outcome) return []
    const text = textOf(outcome.answer)
    const found =
      secrets.find((secret) => text.includes(secret)) ??
      /\b(?:\d{1,3}\.){3}\d{1,3}:\d+\b/.exec(text)?.[0]
    return found === undefined ? [] : [`${what}: ${found}`]
  })
  const count = answered(asked).length
  const figure = told.length > 0 ? told.join(', ') : `${count} answers looked through`
  return judged(NAME, expected, count > 0 && told.length === 0, figure, byHand)
}

/** Whoever is not there tells nothing, which is no merit. */
function answered(asked: readonly Asked[]): readonly Asked[] {
  return asked.filter(({ outcome }) => 'answer' in outcome)
}

function textOf({ headers, trailers, body }: Answer): string {
  return `${JSON.stringify(headers)}\n${JSON.stringify(trailers)}\n${body?.toString('latin1') ?? ''}`
}

/** Two of the requests here are strikes; five within a minute ban. */
export const answersCheck: Check = {
  name: NAME,
  effort: 'handful',
  programs: [],
  limitSeconds: 60,
  plan: () => 'makes 8 odd requests, 2 of them without a token',
  async run(target) {
    const { grpcPort, httpPort } = target
    const mark = { run: 'answers', way: 'none', device: 'validate' }
    const message = (signal: SentSignal) => exportRequest(signal, mark, Date.now())
    const ask = async (
      what: string,
      way: 'gRPC' | 'HTTP/1.1' | 'HTTP/2',
      port: number,
      request: Parameters<typeof probe>[2],
    ): Promise<Asked> => ({ what, outcome: await probe(target, { way, port }, request) })
    const get = { method: 'GET', path: '/metrics', headers: { 'content-type': undefined } }
    const overHttp = await ask('no token', 'HTTP/1.1', httpPort, {
      token: null,
      message: message('traces'),
    })
    const overGrpc = await ask('no token', 'gRPC', grpcPort, {
      token: null,
      message: message('traces'),
    })
    const pages = [
      await ask(`${httpPort}/metrics`, 'HTTP/1.1', httpPort, get),
      await ask(`${grpcPort}/metrics`, 'HTTP/2', grpcPort, get),
    ]
    const others = [
      await ask('/', 'HTTP/1.1', httpPort, { ...get, path: '/' }),
      await ask('/v1/traces/', 'HTTP/2', httpPort, { path: '/v1/traces/' }),
      await ask('no protobuf', 'HTTP/1.1', httpPort, { message: Buffer.from([255, 255]) }),
      await ask('no protobuf', 'gRPC', grpcPort, { message: Buffer.from([255, 255]) }),
    ]
    const all = [overHttp, overGrpc, ...pages, ...others]
    const post = curl(target, httpPort, '/v1/traces', EMPTY_EXPORT)
    return [
      judgeWithoutToken(overHttp.outcome, post),
      judgeWithoutToken(
        overGrpc.outcome,
        curl(target, grpcPort, GRPC_PATHS.traces, [
          ...['--http2', '-H', 'content-type: application/grpc', '-H', 'te: trailers', '-d', ''],
        ]),
      ),
      judgeRedirects(all, curl(target, httpPort, '/')),
      judgeMetricsPage(pages, curl(target, httpPort, '/metrics')),
      judgeSecrets(all, secretsOf(target), post),
    ]
  },
}

function secretsOf({ inside }: Target): readonly string[] {
  return inside?.secrets ?? []
}
