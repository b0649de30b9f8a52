/**
 * Where the token set of the gateway comes from. Part of the composition root: opens every source,
 * joins the last good set of each, puts the whole in force, and tells what became of them.
 */
import type { Config } from './config/config.ts'
import type { Notices } from './observe/notices.ts'
import { openSource } from './secrets/open-source.ts'
import type { Place } from './secrets/place.ts'
import { PolledSource } from './secrets/polled-source.ts'
import { SetCache } from './secrets/set-cache.ts'
import { TokenFile } from './secrets/token-file.ts'
import type { Source } from './secrets/truth.ts'
import { parseTokenList } from './stores/token-list.ts'
import type { SourceRow } from './stores/token-page.ts'
import { joinTokenSets, parseTokenSet, type TokenSet, TokenSetError } from './stores/token-set.ts'
import type { TokenStore } from './stores/tokens.ts'
import {
  type Content,
  contentFrom,
  keptSetOf,
  placeSettingsOf,
  type RemoteConfig,
  tokenPlacesOf,
} from './token-places.ts'

/** How long a start waits for sources that are not on this machine. */
const START_WAIT_MS = 3000
const FILE_DEBOUNCE_MS = 100
/** How often a file is looked at where the file system tells of no changes. */
const FILE_POLL_MS = 5000

/** One place that tokens come from. */
export interface SourceState {
  /** As the operator wrote it. */
  readonly place: string
  /** Whether the last read was good. */
  readonly isGood: boolean
  /** What was wrong with it, or that there was none yet; undefined where it was good. */
  readonly problem: string | undefined
  /** When it was last read well, as Unix milliseconds; a file that does not change is not read again. */
  readonly lastGoodMs: number | undefined
  /** Tokens in its last good set. */
  readonly tokens: number
}

/** All places that tokens come from. */
export interface TokenSources {
  states(): readonly SourceState[]
  /** Reads all of them now. Never rejects. */
  reload(): Promise<unknown>
  close(): Promise<void>
}

/** Where the token set comes from and how the last read of each place went, as commands show it. */
export function sourceRows(states: readonly SourceState[]): readonly SourceRow[] {
  return states.map(({ place, isGood, problem = null, lastGoodMs }) => {
    const lastGoodAt = lastGoodMs === undefined ? null : new Date(lastGoodMs).toISOString()
    return { place, isGood, problem, lastGoodAt }
  })
}

export type SourceConfig = RemoteConfig &
  Pick<Config, 'stateDir' | 'tokens' | 'tokensFile' | 'tokensPollMs' | 'tokensSource'> &
  Partial<Pick<Config, 'tlsClientToken'>>

/** What one place has in force. */
interface Share {
  readonly place: Place
  set: TokenSet | undefined
  /** The place itself has said so since the start, and not what was kept of it. */
  isRead: boolean
  /** Its last set was good by itself and did not go together with the others. */
  isClashing: boolean
}

interface Member extends Omit<TokenSources, 'states'> {
  readonly share: Share
  state(): Omit<SourceState, 'place' | 'tokens'>
}

interface Surroundings {
  readonly config: SourceConfig
  readonly notices: Notices
  put(share: Share, set: TokenSet, isRead: boolean): number
}

/**
 * Opens all places that the configuration names and follows them. A file that is missing or wrong
 * rejects in words. A place on another machine does not: the start waits three seconds for it, takes
 * what was kept of it the last time, and goes on trying.
 */
export async function openTokens(
  config: SourceConfig,
  store: TokenStore,
  notices: Notices,
  onChange: () => void,
): Promise<TokenSources> {
  // All are known before the first is read: until each has been, no token is unknown for sure.
  const shares = tokenPlacesOf(config).map(
    (place): Share => ({ place, set: undefined, isRead: false, isClashing: false }),
  )
  // JWTs alone: every other token is unknown, and that is known.
  if (shares.length === 0) store.swap({ records: [] })
  const members: Member[] = []
  const put = (share: Share, set: TokenSet, isRead: boolean) => {
    const others = shares.filter((other) => other !== share)
    const clash = clashOf(set, others)
    share.isClashing = clash !== undefined
    if (clash !== undefined) throw new TokenSetError(share.place.text, [clash])
    const sets = shares.flatMap((other) => (other === share ? set : other.set) ?? [])
    const isComplete = isRead && others.every((other) => other.isRead)
    store.swap(joinTokenSets(sets), { isComplete })
    const idle = set.records.filter((record) => record.clientCertificate !== undefined).length
    if (idle > 0 && config.tlsClientToken !== 'instead')
      notices.certificateEntriesIdle(idle, share.place.text)
    share.set = set
    share.isRead ||= isRead
    onChange()
    for (const member of members) if (member.share.isClashing) void member.reload()
    return set.records.length
  }
  const surroundings = { config, notices, put }
  const close = async () => {
    await Promise.all(members.map((member) => member.close()))
  }
  try {
    const settings = await placeSettingsOf(config)
    const starts: (() => Promise<void>)[] = []
    for (const share of shares) {
      const { place } = share
      if (place.scheme === 'env') members.push(openEnvironment(share, surroundings))
      else if (place.scheme === 'file') members.push(await openFile(share, surroundings))
      else {
        const source = await openSource(place, settings)
        const { member, start } = openRemote(share, source, surroundings)
        members.push(member)
        starts.push(start)
      }
    }
    await Promise.all(starts.map((start) => start()))
  } catch (error) {
    await close()
    throw error
  }
  return {
    states: () =>
      members.map(({ share, state }) => {
        return { place: share.place.text, tokens: share.set?.records.length ?? 0, ...state() }
      }),
    reload: () => Promise.all(members.map((member) => member.reload())),
    close,
  }
}

function openEnvironment(share: Share, { config, notices, put }: Surroundings): Member {
  const set = parseTokenList(config.tokens?.reveal() ?? '')
  notices.tokensLoaded(put(share, set, true), set.source)
  const state = { isGood: true, problem: undefined, lastGoodMs: Date.now() }
  return { share, state: () => state, reload: async () => {}, close: async () => {} }
}

async function openFile(share: Share, { notices, put }: Surroundings): Promise<Member> {
  const { path } = share.place
  let lastGoodMs: number | undefined
  const file = new TokenFile<TokenSet>({
    path,
    parse: parseTokenSet,
    swap: (set) => put(share, set, true),
    debounceMs: FILE_DEBOUNCE_MS,
    pollMs: FILE_POLL_MS,
    onEvent: (event) => {
      if (event.kind === 'loaded') {
        lastGoodMs = Date.now()
        notices.tokensLoaded(event.count, path)
      } else notices.tokensKept(share.set?.records.length ?? 0, path, event.problem)
    },
  })
  await file.start()
  return {
    share,
    state: () => ({ isGood: file.problem === undefined, problem: file.problem, lastGoodMs }),
    reload: () => file.reload(),
    close: async () => file.close(),
  }
}

function openRemote(
  share: Share,
  source: Source,
  { config, notices, put }: Surroundings,
): { readonly member: Member; start(): Promise<void> } {
  const { place } = share
  const kept = new KeptSet(new SetCache(config.stateDir, place.text), (problem) =>
    notices.cachedTokensUnsaved(place.text, problem),
  )
  const polled = new PolledSource<Content>({
    source,
    parse: (versions) => contentFrom(versions, place),
    swap: ({ set, texts, flaws }) => {
      const count = put(share, set, true)
      for (const flaw of flaws) notices.tokensLeftOut(place.text, flaw)
      kept.replace(texts)
      return count
    },
    onGood: () => kept.save(),
    onEvent: (event) => {
      if (event.kind === 'loaded') notices.tokensLoaded(event.count, place.text)
      else if (share.set === undefined) notices.tokensUnavailable(place.text, event.problem)
      else notices.tokensKept(share.set.records.length, place.text, event.problem)
    },
    pollMs: config.tokensPollMs,
  })
  let keptMs: number | undefined
  const start = async () => {
    const waited = Promise.withResolvers<void>()
    const timer = setTimeout(waited.resolve, START_WAIT_MS)
    await Promise.race([polled.reload(), waited.promise])
    clearTimeout(timer)
    try {
      const found = share.isRead ? undefined : await kept.cache.read()
      if (found === undefined || share.isRead) return
      const count = put(share, keptSetOf(found.texts, place), false)
      keptMs = found.readMs
      notices.cachedTokensTaken(count, place.text, Date.now() - keptMs)
    } catch (error) {
      notices.cachedTokensIgnored(place.text, wordsOf(error))
    }
  }
  const state = () => {
    const { problem, lastGoodMs = keptMs } = polled
    const isGood = problem === undefined && polled.lastGoodMs !== undefined
    return { isGood, problem: isGood ? undefined : (problem ?? 'no answer yet'), lastGoodMs }
  }
  const close = async () => {
    await polled.close()
    await kept.cache.close()
  }
  return { member: { share, state, reload: () => polled.reload(), close }, start }
}

/** What is to be on disk of a remote place. A run of failing saves is told once. */
class KeptSet {
  readonly cache: SetCache
  readonly #onProblem: (problem: string) => void
  #texts: readonly string[] = []
  #isSaved = false
  #isFailing = false

  constructor(cache: SetCache, onProblem: (problem: string) => void) {
    this.cache = cache
    this.#onProblem = onProblem
  }

  /** What to save with the next good read. */
  replace(texts: readonly string[]): void {
    this.#texts = texts
    this.#isSaved = false
  }

  /** Saves what is new, or else notes that it still holds. Never throws. */
  save(): void {
    const texts = this.#texts
    const done = this.#isSaved ? this.cache.confirm() : this.cache.keep(texts)
    this.#isSaved = true
    done.then(
      () => {
        this.#isFailing = false
      },
      (error) => {
        this.#isSaved = false
        if (!this.#isFailing) this.#onProblem(wordsOf(error))
        this.#isFailing = true
      },
    )
  }
}

/** Where a set has an id that stands for another token elsewhere, in words. */
function clashOf(set: TokenSet, others: readonly Share[]): string | undefined {
  const byId = new Map(set.records.map((record) => [record.id, record]))
  for (const { place, set: other } of others) {
    const twin = other?.records.find(({ id, sha256 }) => {
      const own = byId.get(id)
      return own !== undefined && own.sha256 !== sha256
    })
    if (twin !== undefined)
      return `the id "${twin.id}" stands for another token in ${place.text}; expected each id once over all places`
  }
  return undefined
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
