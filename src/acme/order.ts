/** One order (RFC 8555 §7.4): authorizations, challenges, and the certificate at its end. */
import { setTimeout as pause } from 'node:timers/promises'
import { AcmeFault, problemFrom, problemWords, shortType } from './acme-fault.ts'
import type { Challenge, Challenger } from './challenger.ts'
import type { AcmeClient, Resource } from './client.ts'

/** An authority that has not made up its mind by then is given up on. */
const PATIENCE_MS = 300_000
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 30_000
const PEM_CHAIN = 'application/pem-certificate-chain'

export interface OrderOptions {
  readonly client: AcmeClient
  readonly names: readonly string[]
  readonly challenger: Challenger
  /** The certificate that this one replaces, as RFC 9773 §4.1 names it; undefined for a first one. */
  readonly replaces: string | undefined
  readonly wallMs: () => number
}

/** What was ordered: PEM. The key is not to be logged. */
export interface Issue {
  readonly key: string
  readonly chain: string
}

interface Waiting {
  readonly authorization: string
  readonly name: string
  /** URL of the challenge. */
  readonly url: string
  readonly challenge: Challenge
}

/** Orders a certificate. @throws {AcmeFault} in words that name the name, the challenge and what was said. */
export async function order(options: OrderOptions): Promise<Issue> {
  const { client, names, challenger } = options
  const untilMs = performance.now() + PATIENCE_MS
  const begun = await begin(options)
  const orderUrl = begun.location
  if (orderUrl === undefined) throw new AcmeFault('away', `${begun.url} named no order`)
  const waiting: Waiting[] = []
  for (const url of textsOf(begun.body.authorizations)) {
    const one = await lookAt(url, options)
    if (one !== undefined) waiting.push(one)
  }
  try {
    if (waiting.length > 0) await challenger.show(waiting.map(({ challenge }) => challenge))
    for (const { url, name } of waiting)
      await client.post(url, {}, `to look at the ${challenger.type} challenge of ${name}`)
    for (const one of waiting) await settle(one, options, untilMs)
  } finally {
    await challenger.withdraw()
  }
  const ready = await decided(options, orderUrl, ['pending', 'processing'], untilMs)
  if (ready.body.status !== 'ready' && ready.body.status !== 'valid') throw spoilt(ready)
  const { requestFor } = await import('./certificates.ts')
  const { csr, key } = await requestFor(names)
  const finalize = textOf(ready.body.finalize)
  await client.post(finalize, { csr }, 'to issue the certificate')
  const done = await decided(options, orderUrl, ['pending', 'ready', 'processing'], untilMs)
  if (done.body.status !== 'valid') throw spoilt(done)
  const url = textOf(done.body.certificate)
  const { text: chain } = await client.post(url, undefined, 'for the certificate', PEM_CHAIN)
  return { key, chain }
}

async function begin({ client, names, replaces }: OrderOptions): Promise<Resource> {
  const { newOrder, renewalInfo } = await client.directory()
  const identifiers = names.map((value) => ({ type: 'dns', value }))
  const what = `for a certificate for ${names.join(', ')}`
  if (replaces === undefined || renewalInfo === undefined)
    return await client.post(newOrder, { identifiers }, what)
  try {
    return await client.post(newOrder, { identifiers, replaces }, what)
  } catch (error) {
    // It was replaced before, by another account, or is not found: that is no reason to have none.
    const isAboutOrder =
      error instanceof AcmeFault &&
      error.kind !== 'rate_limited' &&
      !['', 'accountDoesNotExist', 'badNonce'].includes(error.type)
    if (!isAboutOrder) throw error
    return await client.post(newOrder, { identifiers }, what)
  }
}

/** What has to be done for one name; undefined where it has been proved before. */
async function lookAt(url: string, options: OrderOptions): Promise<Waiting | undefined> {
  const { client, challenger } = options
  const { body } = await client.post(url, undefined, 'what it wants to see')
  const { value } = (body.identifier ?? {}) as { value?: unknown }
  const name = textOf(value)
  if (body.status === 'valid') return undefined
  const offered = challengesOf(body)
  const found = offered.find(({ type }) => type === challenger.type)
  if (found === undefined) {
    const types = offered.map(({ type }) => textOf(type)).join(', ')
    const other = offered.length === 0 ? 'nothing' : types
    throw new AcmeFault(
      'refused',
      `${name}: ${originOf(url)} offers ${other} and no ${challenger.type}; choose another with TOLLGATE_ACME_CHALLENGE`,
    )
  }
  const token = textOf(found.token)
  if (!/^[\w-]{1,200}$/.test(token)) throw new AcmeFault('away', `${url}: a token that is none`)
  const keyAuthorization = await client.key.keyAuthorization(token)
  const challenge = { name, token, keyAuthorization }
  return { authorization: url, name, url: textOf(found.url), challenge }
}

/** Waits until a name is proved. */
async function settle(
  { authorization, name }: Waiting,
  options: OrderOptions,
  untilMs: number,
): Promise<void> {
  const { challenger } = options
  const { body } = await decided(options, authorization, ['pending'], untilMs)
  if (body.status === 'valid') return
  const failed = challengesOf(body).find(({ type }) => type === challenger.type)
  const problem = problemFrom(failed?.error)
  throw new AcmeFault(
    'validation',
    `${name}: ${originOf(authorization)} does not accept the ${challenger.type} challenge: ${problemWords(problem)}; ${challenger.expectation(name)}`,
    { type: shortType(problem.type) },
  )
}

/** Looks at something until its status is none of `open`. */
async function decided(
  { client, wallMs }: OrderOptions,
  url: string,
  open: readonly string[],
  untilMs: number,
): Promise<Resource> {
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 1.5, LONGEST_PAUSE_MS)) {
    const found = await client.post(url, undefined, 'how it stands')
    const status = textOf(found.body.status)
    // An order whose names are all proved may be told as pending for a moment still.
    if (!open.includes(status)) return found
    const saidMs = found.retryAtMs === undefined ? pauseMs : found.retryAtMs - wallMs()
    const waitMs = Math.min(Math.max(saidMs, FIRST_PAUSE_MS / 2), LONGEST_PAUSE_MS)
    if (performance.now() + waitMs > untilMs) {
      const words = `${originOf(url)} has not decided within ${PATIENCE_MS / 60_000} minutes: still ${status}`
      throw new AcmeFault('away', words)
    }
    await pause(waitMs, undefined, { signal: client.signal })
  }
}

function spoilt({ url, body }: Resource): AcmeFault {
  const problem = problemFrom(body.error)
  const words = `the order at ${originOf(url)} is ${textOf(body.status)}: ${problemWords(problem)}`
  return new AcmeFault('refused', words, { type: shortType(problem.type) })
}

function challengesOf(body: Resource['body']): readonly Readonly<Record<string, unknown>>[] {
  const { challenges } = body
  return Array.isArray(challenges) ? challenges.slice(0, 20) : []
}

function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((text) => typeof text === 'string') : []
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, 2000) : ''
}

function originOf(url: string): string {
  return new URL(url).origin
}
