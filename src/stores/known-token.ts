/** A token of the set as the store holds it: made once a set, so that a request has nothing to work out. */
import { BlockList, isIP } from 'node:net'
import type { Token, TokenLimits } from '../pipeline/ports.ts'
import type { Account, Ledger } from './ledger.ts'
import type { Network } from './token-fields.ts'
import type { TokenRecord } from './token-record.ts'
import { oldestFirst } from './token-state.ts'

/** One token of the set. */
export interface KnownToken {
  readonly token: Token
  readonly record: TokenRecord
  readonly allowFrom: BlockList | undefined
  readonly account: Account
  readonly kin: Kin
  /** Its place among its kin, from 0. */
  place: number
}

/** The tokens of one holder, or a client certificate by itself. */
export interface Kin {
  /** Oldest first. */
  members: readonly KnownToken[]
  /** The place of the newest one that has been used; -1 for none. */
  newestUsed: number
}

/** The tokens of a set, each with its account and its kin. */
export function knownTokensFrom(
  records: readonly TokenRecord[],
  defaults: TokenLimits,
  ledger: Ledger,
): KnownToken[] {
  const kinOf = new Map<string, { kin: Kin; members: KnownToken[] }>()
  ledger.clearSet()
  const known = records.map((record) => {
    // A certificate neither replaces a token nor is replaced by one.
    const name = record.clientCertificate === undefined ? record.holder : `\n${record.id}`
    let family = kinOf.get(name)
    if (family === undefined) {
      family = { kin: { members: [], newestUsed: -1 }, members: [] }
      kinOf.set(name, family)
    }
    const member: KnownToken = {
      token: tokenFrom(record, defaults),
      record,
      allowFrom: record.allowFrom === undefined ? undefined : blockListOf(record.allowFrom),
      account: ledger.open(record.id, record.sha256),
      kin: family.kin,
      place: 0,
    }
    family.members.push(member)
    return member
  })
  for (const { kin, members } of kinOf.values()) {
    kin.members = oldestFirst(members)
    for (const [place, member] of kin.members.entries()) member.place = place
  }
  for (const member of known) noteUse(member)
  return known
}

/** Remembers that a token has been used, where it has. */
export function noteUse({ kin, place, account }: KnownToken): void {
  if (account.firstUsedMs !== 0 && place > kin.newestUsed) kin.newestUsed = place
}

/** The newest token of the same holder that is newer than this one and has been used. */
export function usedSuccessor({ kin, place, record }: KnownToken): KnownToken | undefined {
  if (kin.newestUsed > place) return kin.members[kin.newestUsed]
  if (record.replacedBy === undefined) return undefined
  return kin.members.find((member) => {
    return member.record.id === record.replacedBy && member.account.firstUsedMs !== 0
  })
}

/** Whether the token may be used from this address. */
export function isAllowedFrom({ allowFrom }: KnownToken, address: string): boolean {
  if (allowFrom === undefined) return true
  // A link-local address may carry its zone (RFC 4007 §11), which BlockList does not know.
  const bare = address.replace(/%.*$/, '')
  const version = isIP(bare)
  return version !== 0 && allowFrom.check(bare, version === 4 ? 'ipv4' : 'ipv6')
}

function tokenFrom({ id, holder, scopes, limits }: TokenRecord, defaults: TokenLimits): Token {
  const pick = <Limit>(own: Limit | 'off' | undefined, fallback: Limit | undefined) =>
    own === 'off' ? undefined : (own ?? fallback)
  return {
    id,
    holder,
    scopes,
    limits: {
      requests: pick(limits?.requests, defaults.requests),
      bytes: pick(limits?.bytes, defaults.bytes),
      inFlight: pick(limits?.inFlight, defaults.inFlight),
    },
  }
}

function blockListOf(networks: readonly Network[]): BlockList {
  const list = new BlockList()
  for (const { address, prefix, family } of networks) list.addSubnet(address, prefix, family)
  return list
}
