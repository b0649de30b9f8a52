/**
 * What stands in for what is not configured, so that the first start needs no preparation: a
 * development certificate, a first token, and a sandbox for the collector.
 */
import { join } from 'node:path'
import type { Config } from '../config/config.ts'
import { editFile, readTextFile } from '../secrets/file-edit.ts'
import { createToken, digestOf } from '../stores/token-secret.ts'
import { parseTokenSet } from '../stores/token-set.ts'
import { ensureDevelopmentCertificate } from '../tls/development.ts'
import { pairPlacesOf } from '../tls/pair-place.ts'
import { tokenPlacesOf } from '../token-places.ts'
import type { Sandbox } from '../upstream/sandbox.ts'
import { addEntry } from './token-document.ts'

/** What was put in place. Undefined for what was configured. */
export interface StandIns {
  readonly config: Config
  /** The CA that clients have to trust, a PEM file. */
  readonly caPath: string | undefined
  /** The first token in plain, as long as its file is kept. */
  readonly token: string | undefined
  readonly sandbox: Sandbox | undefined
}

/** Fills what is missing. Rejects in words where the state directory cannot be used. */
export async function provideStandIns(config: Config): Promise<StandIns> {
  const { stateDir } = config
  const wallMs = Date.now()
  const makePair = () => ensureDevelopmentCertificate({ stateDir, wallMs })
  const acmePath = config.acme === undefined ? undefined : await ensureAcmePair(stateDir, makePair)
  const isBare = config.tls === 'on' && acmePath === undefined && pairPlacesOf(config).length === 0
  const development = isBare ? await makePair() : undefined
  const hasTokens = tokenPlacesOf(config).length + config.jwtIssuers.length > 0
  const tokensFile = join(stateDir, 'tokens.json')
  const token = hasTokens ? undefined : await ensureFirstToken(tokensFile, join(stateDir, 'token'))
  const hasCollector = config.collectorGrpc.length + config.collectorHttp.length > 0
  const sandbox = hasCollector ? undefined : await openSandbox()
  return {
    config: {
      ...config,
      ...(acmePath !== undefined && { tlsCert: [acmePath], tlsKey: [acmePath] }),
      ...(development && { tlsCert: [development.certPath], tlsKey: [development.keyPath] }),
      ...(!hasTokens && { tokensFile }),
      ...(sandbox && {
        collectorGrpc: [localAddress(sandbox.grpcPort)],
        collectorHttp: [localAddress(sandbox.httpPort)],
      }),
    },
    caPath: development?.caPath,
    token,
    sandbox,
  }
}

/** Something to serve until the first certificate comes by ACME; resolves with where that will be. */
async function ensureAcmePair(
  stateDir: string,
  makePair: () => ReturnType<typeof ensureDevelopmentCertificate>,
): Promise<string> {
  const { acmeCertificatePath, ensureAcmeStandIn } = await import('../acme-certificate.ts')
  await ensureAcmeStandIn(stateDir, makePair, Date.now())
  return acmeCertificatePath(stateDir)
}

/** Loaded when it is needed: a gateway with a collector does without gRPC's library. */
async function openSandbox(): Promise<Sandbox> {
  const { startSandbox } = await import('../upstream/sandbox.ts')
  return await startSandbox()
}

function localAddress(port: number): Config['collectorGrpc'][number] {
  const host = '127.0.0.1'
  return { protocol: 'http:', host, port, origin: `http://${host}:${port}`, path: '' }
}

/**
 * Makes one token where there is none, kept in plain beside its digest so that it can be shown again.
 * Undefined where there are tokens already and the plain one is gone.
 */
async function ensureFirstToken(
  tokensFile: string,
  plainFile: string,
): Promise<string | undefined> {
  const kept = (await readTextFile(plainFile))?.trim()
  const text = await readTextFile(tokensFile)
  if (text !== undefined) {
    const { records } = parseTokenSet(text, tokensFile)
    const isKnown = kept !== undefined && records.some(({ sha256 }) => sha256 === digestOf(kept))
    return isKnown ? kept : undefined
  }
  const { id, token } = createToken()
  await editFile(plainFile, () => `${token}\n`)
  const createdAt = new Date().toISOString()
  await addEntry(tokensFile, { id, holder: 'first', sha256: digestOf(token), createdAt })
  return token
}
