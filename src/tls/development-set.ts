/**
 * A development CA in a directory of its own, with a server certificate and client certificates. All
 * is planned before anything is written, and no file is replaced that was not made here.
 */
import { X509Certificate } from 'node:crypto'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { CertificateError, inShell, StateDirError } from './certificate-error.ts'
import {
  canSign,
  isFresh,
  isSignedBy,
  parseCertificate,
  prepare,
  read,
  readPair,
  store,
} from './development-files.ts'
import { canonicalName, LOOPBACK, namesFor, namesIn } from './development-names.ts'
import { type Issued, issueCa, issueClient, issueServer, permittedBy } from './issue.ts'
import { isPermitted } from './name-constraints.ts'
import { reasonOf } from './pem.ts'

const CA_NAME = 'Tollgate development CA'
/** Certificates are for everybody to read. */
const CERT_MODE = 0o644

export interface DevelopmentSetOptions {
  /** Made with mode 0700 if there is none. */
  readonly directory: string
  /** Host names and addresses of the server. Default: those it has, else this machine's. */
  readonly serverNames?: readonly string[]
  /** One client certificate each. Default none. */
  readonly clientNames?: readonly string[]
  /** How long new certificates live, the CAs aside. Default and at most 396 days. */
  readonly lifeMs?: number
  /** Whether certificates are made anew that are still good. The CAs stay. */
  readonly renews?: boolean
  readonly wallMs: number
  readonly hostName?: string
}

/** A certificate with its key, in their files. */
export interface DevelopmentPair {
  readonly certPath: string
  readonly keyPath: string
  readonly names: readonly string[]
  readonly notAfterMs: number
  /** Whether it was made now. */
  readonly isNew: boolean
}

export interface DevelopmentSet {
  /** What agents have to trust. */
  readonly ca: DevelopmentPair
  readonly server: DevelopmentPair
  /** What the gateway has to trust; undefined where no client certificate was asked for. */
  readonly clientCa: DevelopmentPair | undefined
  readonly clients: readonly DevelopmentPair[]
}

interface Planned extends Omit<DevelopmentPair, 'notAfterMs' | 'names'> {
  readonly pair: Issued
}

interface Leaf {
  readonly file: string
  /** Undefined: whatever it has. */
  readonly names: readonly string[] | undefined
  issue(ca: Issued): Promise<Issued>
}

/**
 * Makes what is missing. The CA for servers may sign for the names of its first use, for names below
 * them and for the loopback alone: who steals its key can be nobody else. Clients have a CA of their
 * own, which the gateway alone trusts. Good certificates with more than a third of their life left are
 * left alone. Throws a `CertificateError` where a file is in the way or a name cannot be signed, and a
 * `StateDirError` where the directory cannot be used.
 */
export async function makeDevelopmentSet(options: DevelopmentSetOptions): Promise<DevelopmentSet> {
  try {
    return await make(options)
  } catch (error) {
    if (error instanceof CertificateError || (error as NodeJS.ErrnoException).code === undefined)
      throw error
    throw new StateDirError(
      options.directory,
      `cannot keep certificates here: ${reasonOf(error)}; expected a directory that this user may write`,
      { cause: error },
    )
  }
}

async function make({
  directory,
  serverNames,
  clientNames = [],
  lifeMs,
  renews = false,
  wallMs,
  hostName = hostname(),
}: DevelopmentSetOptions): Promise<DevelopmentSet> {
  const at = (file: string) => join(directory, file)
  const kept = parseCertificate(await read(at('server.pem')))
  const names = serverNames?.map(canonicalName) ?? (kept ? namesIn(kept) : namesFor(hostName))
  const ca = await planCa(at('ca'), wallMs, () =>
    issueCa(`${CA_NAME} (${names[0]})`, wallMs, {
      purpose: 'server',
      permitted: [...new Set([...names.map((name) => name.replace(/^\*\./, '')), ...LOOPBACK])],
    }),
  )
  const plan = (signer: Planned, leaf: Leaf) =>
    planLeaf(at(leaf.file), signer, leaf, wallMs, renews)
  const server = await plan(ca, {
    file: 'server',
    names: serverNames === undefined ? undefined : names,
    issue: (signer) => {
      checkPermitted(ca, names)
      return issueServer(signer, names, wallMs, lifeMs)
    },
  })
  const clientCa =
    clientNames.length === 0
      ? undefined
      : await planCa(at('clients-ca'), wallMs, () =>
          issueCa(`${CA_NAME} for clients`, wallMs, { purpose: 'client' }),
        )
  const clients: Planned[] = []
  for (const name of clientCa === undefined ? [] : new Set(clientNames)) {
    const file = `client-${name.replace(/[^A-Za-z0-9.-]+/g, '-')}`
    const isTaken = clients.some(({ certPath }) => certPath === at(`${file}.pem`))
    if (isTaken) {
      throw new CertificateError(at(`${file}.pem`), `is for ${name} and for another client too`)
    }
    if (clientCa === undefined) continue
    const issue = (signer: Issued) => issueClient(signer, name, wallMs, lifeMs)
    clients.push(await plan(clientCa, { file, names: [canonicalName(name)], issue }))
  }
  await prepare(directory)
  for (const { isNew, pair, certPath, keyPath } of [ca, clientCa, server, ...clients].flatMap(
    (each) => each ?? [],
  )) {
    if (isNew) await store(pair, certPath, keyPath, CERT_MODE)
  }
  return {
    ca: shown(ca),
    server: shown(server),
    clientCa: clientCa && shown(clientCa),
    clients: clients.map(shown),
  }
}

/** The CA that is there, if it was made here and may go on, or else a new one where there is none. */
async function planCa(
  stem: string,
  wallMs: number,
  issue: () => Promise<Issued>,
): Promise<Planned> {
  const [certPath, keyPath] = [`${stem}.pem`, `${stem}.key`]
  const found = await foundAt(certPath, keyPath)
  if (found === undefined) return { certPath, keyPath, isNew: true, pair: await issue() }
  const { certificate, pair } = found
  const look = `openssl x509 -in ${inShell(certPath)} -noout -subject -issuer -dates`
  if (!certificate.subject.startsWith(`CN=${CA_NAME}`) || !isSignedBy(certificate, certificate)) {
    throw new CertificateError(
      certPath,
      `is no development CA of Tollgate's; expected a directory without it`,
      { look },
    )
  }
  if (pair === undefined) {
    throw new CertificateError(
      certPath,
      `has no key in ${keyPath}, so nothing can be signed; put the key back, or remove this file for a new CA, which all clients then need`,
    )
  }
  if (!canSign(certificate, wallMs)) {
    throw new CertificateError(
      certPath,
      `is valid until ${certificate.validTo} and does not sign in its last 30 days; move it and ${keyPath} away for a new CA, which all clients then need`,
      { look },
    )
  }
  return { certPath, keyPath, isNew: false, pair }
}

async function planLeaf(
  stem: string,
  ca: Planned,
  { names, issue }: Leaf,
  wallMs: number,
  renews: boolean,
): Promise<Planned> {
  const [certPath, keyPath] = [`${stem}.pem`, `${stem}.key`]
  const found = await foundAt(certPath, keyPath)
  if (found !== undefined) {
    const { certificate, pair } = found
    if (!isSignedBy(certificate, new X509Certificate(ca.pair.cert))) {
      throw new CertificateError(
        certPath,
        `was not signed by ${ca.certPath}${ca.isNew ? ', which is to be made' : ''}; it is not overwritten: move it away, or choose another directory`,
        { look: `openssl x509 -in ${inShell(certPath)} -noout -subject -issuer` },
      )
    }
    const isSame = names === undefined || isSameSet(names, namesIn(certificate))
    if (pair !== undefined && isSame && isFresh(certificate, wallMs) && !renews) {
      return { certPath, keyPath, isNew: false, pair }
    }
  }
  return { certPath, keyPath, isNew: true, pair: await issue(ca.pair) }
}

/** What is there under these names; a key that belongs to nothing is not ours to replace. */
async function foundAt(
  certPath: string,
  keyPath: string,
): Promise<{ certificate: X509Certificate; pair: Issued | undefined } | undefined> {
  const [cert, key] = [await read(certPath), await read(keyPath)]
  if (cert === undefined && key === undefined) return undefined
  const certificate = parseCertificate(cert)
  if (cert !== undefined && certificate === undefined) {
    throw new CertificateError(certPath, 'is no certificate; it is not overwritten: move it away', {
      look: `head -n 3 ${inShell(certPath)}`,
    })
  }
  const pair = await readPair(certPath, keyPath)
  if (certificate === undefined || (key !== undefined && pair === undefined)) {
    throw new CertificateError(
      keyPath,
      `does not belong to a certificate in ${certPath}; it is not overwritten: move it away`,
    )
  }
  return { certificate, pair }
}

function checkPermitted(ca: Planned, names: readonly string[]): void {
  const permitted = permittedBy(ca.pair.cert)
  const wrong = names.filter((name) => permitted !== undefined && !isPermitted(name, permitted))
  if (wrong.length === 0) return
  throw new CertificateError(
    ca.certPath,
    `may not sign for ${wrong.join(', ')}, but for ${permitted?.join(', ')} and what is below them; make another CA in another directory, or move this one and all it signed away`,
    { look: `openssl x509 -in ${inShell(ca.certPath)} -noout -ext nameConstraints` },
  )
}

function isSameSet(one: readonly string[], other: readonly string[]): boolean {
  const [first, second] = [new Set(one), new Set(other)]
  return first.size === second.size && [...first].every((each) => second.has(each))
}

function shown({ certPath, keyPath, isNew, pair }: Planned): DevelopmentPair {
  const certificate = new X509Certificate(pair.cert)
  const names = certificate.ca ? [] : namesIn(certificate)
  return { certPath, keyPath, isNew, names, notAfterMs: Date.parse(certificate.validTo) }
}
