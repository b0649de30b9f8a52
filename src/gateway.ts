/**
 * The composition root: builds every part from the configuration, opens the ports, reloads, drains.
 * The only place that knows both sides of a port of the pipeline.
 */
import { readFile } from 'node:fs/promises'
import { isIPv6 } from 'node:net'
import type { RestartAnswer } from './admin/control.ts'
import { readiness } from './admin/health.ts'
import { AdminListener } from './admin/listener.ts'
import { watchClientAddresses } from './client-addresses.ts'
import { createClientCertificates } from './client-certificates.ts'
import { openCommandSocket } from './command-socket.ts'
import type { Config } from './config/config.ts'
import { createTrustedProxies } from './edge/client-address.ts'
import { FrontDoor } from './edge/front-door.ts'
import { createHeaderFilter } from './edge/headers.ts'
import { InFlightBytes } from './edge/in-flight-bytes.ts'
import { peerFromAddress } from './edge/peer.ts'
import { ProgressWatch } from './edge/progress-watch.ts'
import { AuditFile } from './observe/audit.ts'
import { RequestJournal } from './observe/journal.ts'
import type { Log } from './observe/log.ts'
import { Metrics } from './observe/metrics.ts'
import { Notices } from './observe/notices.ts'
import type { Peer } from './pipeline/arrival.ts'
import { faultOf } from './pipeline/fault.ts'
import { Hold } from './pipeline/hold.ts'
import type { Clock } from './pipeline/ports.ts'
import { createReadings } from './readings.ts'
import { openStateFiles } from './state-files.ts'
import { Bans } from './stores/bans.ts'
import { Budgets } from './stores/budgets.ts'
import { createExempt } from './stores/exempt.ts'
import { pagePieces } from './stores/token-page.ts'
import { TokenStore } from './stores/tokens.ts'
import { openTokens, type SourceState, sourceRows, type TokenSources } from './token-sources.ts'
import { createCollector } from './upstream/collector.ts'
import { openCertificates } from './watched-files.ts'

/** What still waits is refused this long before the drain time is over, so that the answers go out. */
const LAST_WORDS_MS = 500

const CLOCK: Clock = { nowMs: () => performance.now(), wallMs: () => Date.now() }

export interface GatewayOptions {
  readonly version: string
  readonly log: Log
  /** Sockets that are open already, by their descriptors. They go before the addresses configured. */
  readonly sockets?: Readonly<Partial<Record<'grpc' | 'http' | 'admin', number>>>
  /**
   * Asked when configuration, certificate and tokens have been found good and nothing has been taken
   * yet that only one gateway may have. It goes on when this resolves.
   */
  readonly mayOpen?: () => Promise<unknown>
  /**
   * Has `use` called with the key for session tickets, before `mayOpen` resolves and whenever there is
   * another; undefined where the gateway makes its own.
   */
  readonly ticketKeys?: ((use: (key: Buffer) => void) => void) | undefined
  /** Told when connections are accepted, before anybody else is. */
  readonly onServing?: () => void
  /** Has another gateway take this one's place, for the command; undefined where nobody can. */
  readonly restart?: (() => Promise<RestartAnswer>) | undefined
}

/** A running gateway. */
export interface Gateway {
  /** Where it listens, as `host:port`; undefined for a port that is off. */
  readonly addresses: Readonly<Record<'grpc' | 'http' | 'admin', string | undefined>>
  /** Reads tokens and certificate again and reopens the audit log, as SIGHUP asks. */
  reload(): Promise<void>
  /**
   * Stops: /readyz fails, nothing new is accepted, what is under way ends (at most for the drain
   * time), everything is closed. Resolves with how many requests were cut off.
   */
  drain(why: string): Promise<number>
  /**
   * Stops for another gateway that takes its place: accepts no more and lets go of what only one may
   * have, for which `onReleased` is called; then as `drain`, except that idle connections are left
   * until their next answer or the end of the drain time.
   */
  handOver(onReleased: () => void): Promise<number>
}

/**
 * Builds a gateway and opens its ports. The configuration names tokens, a collector and, unless TLS
 * is off, a certificate: what stands in for them (`serve`) is settled by then. Rejects in words where tokens, certificate or state are
 * unusable, and with Node's error where a port cannot be opened; nothing is left open then.
 */
export async function openGateway(
  config: Config,
  { version, log, sockets = {}, mayOpen, ticketKeys, onServing, restart }: GatewayOptions,
): Promise<Gateway> {
  /** What has been opened, closed in reverse order. */
  const opened: { close(): unknown }[] = []
  /** Those of them that only one gateway of a state directory may have: let go before the next one starts. */
  const exclusive = new Set<{ close(): unknown }>()
  const closeAll = async (parts = opened.splice(0)) => {
    for (const part of parts.reverse()) await part.close()
  }
  const own = (part: { close(): unknown }) => {
    exclusive.add(part)
    opened.push(part)
  }
  let isDraining = false
  let tokenPlaces: TokenSources | undefined

  const audit = await openAudit()
  const clients = createClientCertificates(config, { log, clock: CLOCK })
  if (clients !== undefined) opened.push(clients)
  const inFlightBytes = new InFlightBytes(config.maxInFlightBytes)
  const tokens = new TokenStore({
    defaultLimits: {
      requests: config.tokenRequests,
      bytes: config.tokenBytes,
      inFlight: config.tokenInFlight,
    },
    graceMs: config.tokenGraceMs,
    onGrace: (late) => notices.tokenInGrace(late),
    ...(clients !== undefined && { isRevoked: clients.isRevoked }),
  })
  const budgets = new Budgets({
    peer: { requests: config.peerRequests, bytes: config.peerBytes, inFlight: config.peerInFlight },
  })
  const metrics: Metrics = new Metrics({
    version,
    readings: createReadings(config, () => ({
      ...{ clock: CLOCK, tokenStates: tokenStates(), inFlightBytes, tokens, jwts, hold, clients },
      ...{ bans, budgets, clientAddresses, certificates, acme, collector, log, audit },
    })),
  })
  const { banStrikes, banWindowMs } = config
  const banRule =
    banStrikes === undefined ? undefined : { strikes: banStrikes, windowMs: banWindowMs }
  const notices = new Notices({ log, audit, metrics, clock: CLOCK, banRule })
  notices.started(version)
  const { requests: numbers } = metrics
  // What few use costs 15 MB of memory, so it is loaded where it is configured.
  const jwts =
    config.jwtIssuers.length === 0
      ? undefined
      : (await import('./jwt-issuers.ts')).createJwtIssuers(config, tokens, { log, clock: CLOCK })
  const credentials = jwts?.tokens ?? tokens
  const journal = new RequestJournal({
    numbers,
    tokens: credentials,
    log,
    audit,
    clock: CLOCK,
  })
  const isTrusted = createTrustedProxies(config.trustedProxies)
  const isExempt = createExempt(config.banExempt)
  const bans = new Bans({
    strikes: banStrikes,
    windowMs: banWindowMs,
    banMs: config.banMs,
    // A trusted proxy is everybody behind it.
    exempt: (peer) => isExempt(peer) || isTrusted(peer.address),
    peerOf: peerFromAddress,
    onBan: (ban) => notices.banned(ban),
    onLift: (peerKey) => notices.banLifted(peerKey),
  })
  const collectorCa =
    config.collectorCa === undefined ? undefined : await readFile(config.collectorCa, 'utf8')
  const collector = createCollector({
    grpc: config.collectorGrpc,
    http: config.collectorHttp,
    ca: collectorCa,
    timeoutMs: config.collectorTimeoutMs,
    now: CLOCK.nowMs,
    onChange: (isAvailable, words) => {
      if (isAvailable) notices.collectorUp(words)
      else notices.collectorDown(words)
      hold.wake()
    },
  })
  const admission = { bans, tokens: credentials, budgets, destination: collector }
  const hold = new Hold(config, admission, CLOCK, journal)
  const clientAddresses = await watchClientAddresses(config, tokens, { log, clock: CLOCK })
  opened.push(clientAddresses)
  const certificates = await openTls()
  const renewed = async () => await certificates?.reload()
  const acme =
    config.acme === undefined
      ? undefined
      : (await import('./acme-certificate.ts')).createAcmeCertificate(config, {
          log,
          clock: CLOCK,
          version,
          reload: renewed,
        })
  const door = new FrontDoor({
    ...config,
    tls: certificates?.tlsOptions,
    challenges: acme?.challenges,
    exchange: {
      ...config,
      collector,
      clock: CLOCK,
      inFlightBytes,
      progressWatch: new ProgressWatch(config.bodyTimeoutMs),
      filterHeaders: createHeaderFilter(config.forwardHeaders),
    },
    pipeline: { hold, journal, clock: CLOCK, faultOf },
    peekBudget: config.peerRequests && ((key: string) => budgets.peek(key, CLOCK.nowMs())),
    isShut: (peer) => orNo(() => bans.isShut(peer, CLOCK.nowMs())),
    mayProbe: (peer) => orNo(() => mayProbe(peer)),
    isReady: () => ready().isReady,
    onOpen: (port, peer) => {
      metrics.connections.opened(port)
      clientAddresses.connected(peer)
    },
    onClose: (port) => metrics.connections.closed(port),
    onRefused: (reason) => {
      metrics.connections.refused(reason)
      clientAddresses.refused(reason)
    },
    certificateOf: clients?.certificateOf,
    onHandshake: (handshake) => metrics.handshakes.done(handshake),
    onHandshakeFailed: (code, address) => {
      if (clients?.failed(code, address) !== true) notices.handshakeFailed(code, address)
    },
  })
  ticketKeys?.((key) => door.setTicketKey(key))

  try {
    tokenPlaces = await openTokens(config, tokens, notices, hold.wake)
    opened.push(tokenPlaces)
    if (jwts !== undefined) opened.push(jwts)
    jwts?.start()
    await mayOpen?.()
    const control = await openCommandSocket({
      ...{ stateDir: config.stateDir, restart, bans, tokenPage, tokenPlaces, certificates, acme },
      clock: CLOCK,
      clientAddresses,
    })
    own(control)
    const files = { stateDir: config.stateDir, clock: CLOCK, notices }
    for (const file of await openStateFiles(files, bans, tokens)) own(file)
    opened.push(collector, { close: () => door.destroy() })
    collector.start()
    const addresses = await listen()
    if (acme !== undefined) own(acme)
    await acme?.start()
    return { addresses, reload, drain, handOver }
  } catch (error) {
    await closeAll()
    throw error
  }

  async function openAudit(): Promise<AuditFile | undefined> {
    const path = config.auditLog
    if (path === undefined) return undefined
    const file: AuditFile = await AuditFile.open({
      path,
      onFailure: (cause) => notices.auditFailed(path, cause),
      onRecovery: () => notices.auditRecovered(path, file.lostLines),
    })
    opened.push(file)
    return file
  }

  async function openTls() {
    if (config.tls === 'off') return undefined
    const certificates = await openCertificates(config, notices, (swapped) => {
      clients?.trusts(swapped.clientTrust)
      door.setSecureContext(swapped.tlsOptions)
    })
    clients?.trusts(certificates.clientTrust)
    opened.push(certificates)
    return certificates
  }

  async function listen(): Promise<Gateway['addresses']> {
    const open = async (port: 'grpc' | 'http') => {
      const descriptor = sockets[port]
      const at = descriptor === undefined ? config[`${port}Listen`] : { descriptor }
      if (at === undefined) return undefined
      const { host, port: number } = await door.listen(port, at)
      return isIPv6(host) ? `[${host}]:${number}` : `${host}:${number}`
    }
    let admin: string | undefined
    if (config.adminListen !== undefined) {
      const listener = new AdminListener({
        ...config.adminListen,
        descriptor: sockets.admin,
        metrics,
        tokens: tokenPage,
        readiness: ready,
        version,
        onError: (cause) =>
          log.error('internal', 'A page of the admin port failed', { err: cause }),
      })
      own(listener)
      admin = new URL((await listener.start()).address).host
    }
    const addresses = { grpc: await open('grpc'), http: await open('http'), admin }
    onServing?.()
    notices.listening(addresses)
    return addresses
  }

  function tokenPage(): Iterable<string> {
    return pagePieces(sourceRows(tokenStates()), tokens.statuses(CLOCK.wallMs()))
  }

  function tokenStates(): readonly SourceState[] {
    return tokenPlaces?.states() ?? []
  }

  async function reload(): Promise<void> {
    log.info('reload', 'Reading tokens and certificate again')
    const files = [tokenPlaces?.reload(), certificates?.reload(), audit?.reopen()]
    await Promise.all([...files, jwts?.tokens.reload()])
  }

  async function handOver(onReleased: () => void): Promise<number> {
    door.stopAccepting()
    const parts = opened.filter((part) => exclusive.has(part))
    for (const part of parts) opened.splice(opened.indexOf(part), 1)
    await closeAll(parts)
    onReleased()
    return await drain('Handed over', true)
  }

  async function drain(why: string, isPatient = false): Promise<number> {
    isDraining = true
    notices.draining(why, config.drainMs, door.calls)
    const lastWords = setTimeout(
      () => hold.refuseAll({ reason: 'draining' }),
      Math.max(0, config.drainMs - LAST_WORDS_MS),
    )
    const timeUp = Promise.withResolvers<void>()
    const timer = setTimeout(timeUp.resolve, config.drainMs)
    await Promise.race([door.drain({ isPatient }), timeUp.promise])
    clearTimeout(timer)
    clearTimeout(lastWords)
    const abandoned = door.calls
    journal.flush()
    await closeAll()
    notices.stopped(abandoned)
    return abandoned
  }

  function ready() {
    return readiness(
      {
        isCollectorUp: () => collector.isAvailable(),
        tokensLoaded: () => tokens.count,
        tokenSources: tokenStates,
        issuersKnown: () => jwts?.ready ?? 0,
        certificateNotBeforeMs: () => certificates?.notBeforeMs,
        certificateNotAfterMs: () => certificates?.notAfterMs,
        certificateWords: () => acme?.words,
        isDraining: () => isDraining,
      },
      CLOCK.wallMs(),
    )
  }

  /** A bug of ours where there is no request to be answered must not end the process. */
  function orNo(ask: () => boolean): boolean {
    try {
      return ask()
    } catch (err) {
      log.error('internal', 'A connection or a health check could not be judged', { err })
      return false
    }
  }

  /** A health check takes from the budget of its address like any request. */
  function mayProbe(peer: Peer): boolean {
    const nowMs = CLOCK.nowMs()
    if (bans.isBanned(peer, nowMs) || budgets.waitMs(peer, undefined, nowMs) > 0) return false
    budgets.take(peer, undefined, nowMs)
    budgets.release(peer, undefined)
    return true
  }
}
