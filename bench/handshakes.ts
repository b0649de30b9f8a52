/**
 * What a TLS handshake costs: CPU time of the gateway's front door beside that of a bare
 * `tls.createServer`, for full and resumed handshakes of both versions, rounds interleaved.
 *
 *   npm --prefix bench run handshakes -- [--rounds N] [--count N] [--protocol NAME] [--entry FILE]
 *
 * Both show the same P-256 certificate, the cheapest there is to sign with, so that what the gateway
 * adds weighs most. Every client shakes hands and hangs up. It offers http/1.1 unless `--protocol h2`
 * is given: in HTTP/2 a server says something of its own after the handshake, which the bare one
 * does not. Many short rounds, in turns and each the other way round: the ratio is the median of theirs,
 * so that what else the machine does falls on both. Exits with 1 where the gateway takes more than 1.1
 * times as long for a full handshake.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type ConnectionOptions, connect, type SecureVersion } from 'node:tls'
import { parseArgs } from 'node:util'
import { median, minimum } from './goals.ts'
import { bareTls } from './peers/small-proxy.ts'
import { LIMITS_ON, tollgate } from './peers/tollgate.ts'
import { cpuBetweenUs, processTree, readCpu } from './processes.ts'
import { openStand } from './stand.ts'

const { values: args } = parseArgs({
  options: {
    rounds: { type: 'string', default: '24' },
    count: { type: 'string', default: '300' },
    protocol: { type: 'string', default: 'http/1.1' },
    entry: { type: 'string', default: 'src/main.ts' },
  },
})

const CONNECTIONS = 8
/** The gateway may take so many times what the bare server takes. */
const GOAL = 1.1

interface Kind {
  readonly title: string
  readonly version: SecureVersion
  readonly isResumed: boolean
}

const KINDS: readonly Kind[] = [
  { title: 'TLS 1.3, full', version: 'TLSv1.3', isResumed: false },
  { title: 'TLS 1.3, resumed', version: 'TLSv1.3', isResumed: true },
  { title: 'TLS 1.2, full', version: 'TLSv1.2', isResumed: false },
  { title: 'TLS 1.2, resumed', version: 'TLSv1.2', isResumed: true },
]

const stand = await openStand([
  bareTls,
  tollgate({ name: 'Tollgate', entry: args.entry, env: LIMITS_ON }),
])
try {
  const figures = new Map<string, number[]>()
  // One round more, which is not counted: code is compiled in it.
  for (let round = 0; round <= Number(args.rounds); round += 1) {
    for (const kind of KINDS) {
      const inTurn = round % 2 === 0 ? stand.entrants : stand.entrants.toReversed()
      for (const { name, setting, running } of inTurn) {
        const us = await cpuUs(kind, setting.grpcPort, setting.certificate.certPath, running.pid)
        const key = `${kind.title} ${name}`
        if (round > 0) figures.set(key, [...(figures.get(key) ?? []), us])
      }
    }
  }
  console.log(
    '| CPU µs a handshake, median (least) | bare server | Tollgate | median of ratios | ratio of the least |',
  )
  console.log('|---|---|---|---|---|')
  for (const { title, isResumed } of KINDS) {
    const of = (name: string) => figures.get(`${title} ${name}`) ?? []
    const [bare, ours] = [of(bareTls.name), of('Tollgate')]
    const ratio = median(ours.map((us, round) => us / (bare[round] ?? Number.NaN)))
    const least = minimum(ours) / minimum(bare)
    const cell = (us: readonly number[]) => `${median(us).toFixed(0)} (${minimum(us).toFixed(0)})`
    console.log(
      `| ${title} | ${cell(bare)} | ${cell(ours)} | ${ratio.toFixed(2)} | ${least.toFixed(2)} |`,
    )
    if (!isResumed && ratio > GOAL) process.exitCode = 1
  }
} finally {
  await stand.close()
}

/** CPU time of the server for one handshake, over `--count` of them. */
async function cpuUs(
  { version, isResumed }: Kind,
  port: number,
  certPath: string,
  pid: number,
): Promise<number> {
  const options: ConnectionOptions = {
    ...{ host: '127.0.0.1', port, servername: 'localhost', ca: readFileSync(certPath) },
    ...{ minVersion: version, maxVersion: version, ALPNProtocols: [args.protocol] },
  }
  const session = isResumed ? await ticketFrom(options) : undefined
  const given = session === undefined ? options : { ...options, session }
  const count = Number(args.count)
  let left = count
  const before = readCpu(processTree(pid))
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (left > 0) {
        left -= 1
        await shakeHands(given, isResumed)
      }
    }),
  )
  return cpuBetweenUs(before, readCpu(processTree(pid))) / count
}

async function shakeHands(options: ConnectionOptions, isResumed: boolean): Promise<void> {
  const socket = connect(options)
  const closed = once(socket, 'close')
  await once(socket, 'secureConnect')
  if (socket.isSessionReused() !== isResumed) throw new Error(`resumed: ${!isResumed}`)
  // Both servers have done their part when they have read this and hung up.
  socket.resume().end()
  await closed
}

async function ticketFrom(options: ConnectionOptions): Promise<Buffer> {
  const socket = connect(options)
  const [session] = (await once(socket, 'session')) as [Buffer]
  socket.destroy()
  return session
}
