/** One secret in a KV version 2 engine of Vault: found by its mount, read, and written by compare-and-set. */
import type { Place } from '../place.ts'
import { SourceFault } from '../source-fault.ts'
import type { VaultClient } from './client.ts'
import { type Answer, type Fields, fieldsOf, isTooLarge, says } from './exchange.ts'
import { VaultFault } from './fault.ts'

/** What a read found. */
export type Reading =
  | { readonly kind: 'present'; readonly version: number; readonly data: Fields }
  /** There has never been a version, or nobody remembers. */
  | { readonly kind: 'absent'; readonly version: 0 }
  /** The newest version was deleted; `isDestroyed`: beyond recall. */
  | {
      readonly kind: 'deleted'
      readonly version: number
      readonly isDestroyed: boolean
      readonly deletedAt: string
    }

export type Capability = 'create' | 'read' | 'update'

const CAS_MISMATCH = 'check-and-set parameter did not match'

interface Spot {
  /** `secret`, `team/kv`. */
  readonly mount: string
  /** Below the mount. */
  readonly path: string
}

export class Secret {
  readonly #client: VaultClient
  readonly #segments: readonly string[]
  #spot: Spot | undefined

  /** @throws {SourceFault} where the place does not name a mount and a path. */
  constructor(client: VaultClient, place: Place) {
    this.#client = client
    this.#segments = place.path.replace(/^\/+|\/+$/g, '').split('/')
    const isSound = this.#segments.every((segment) => !['', '.', '..'].includes(segment))
    if (place.scheme !== 'vault' || !isSound || this.#segments.length < 2) {
      throw new SourceFault(
        place.text,
        'is no place in Vault',
        'write the mount and the path in it, like vault:secret/otel/tokens',
        { isTemporary: false },
      )
    }
  }

  /** @throws {VaultFault} */
  async read(): Promise<Reading> {
    const spot = await this.#find()
    const answer = await this.#client.ask({ method: 'GET', path: apiPath(spot, 'data') })
    if (answer.status < 300) return this.#present(answer)
    if (answer.status === 404) return this.#missing(answer, spot)
    throw this.#refusal(answer, spot, 'read', ['read'])
  }

  /**
   * Writes a new version where `version` is still the newest (0: where there is none); false where it
   * is not. @throws {VaultFault}
   */
  async write(data: Fields, version: number): Promise<boolean> {
    const spot = await this.#find()
    const answer = await this.#client.ask({
      method: 'POST',
      path: apiPath(spot, 'data'),
      body: { options: { cas: version }, data },
    })
    if (answer.status < 300) return true
    if (answer.status === 400 && says(answer, CAS_MISMATCH)) return false
    throw this.#refusal(answer, spot, 'write', ['create', 'update'])
  }

  /**
   * Whether the token may do this, without doing it. @throws {VaultFault} that names the line that its
   * policy lacks.
   */
  async checkMay(needed: readonly Capability[]): Promise<void> {
    const spot = await this.#find()
    const path = `${spot.mount}/data/${spot.path}`
    const answer = await this.#client.ask({
      method: 'POST',
      path: 'sys/capabilities-self',
      body: { paths: [path] },
    })
    // Without the default policy a token may not ask this; what it may do is seen when it does it.
    if (answer.status >= 300) return
    const found = fieldsOf(answer.body.data)[path] ?? answer.body[path]
    if (!Array.isArray(found) || found.includes('root')) return
    const missing = needed.filter((capability) => !found.includes(capability))
    if (missing.length === 0) return
    throw new VaultFault(
      `the token may not ${missing.join(', ')} there`,
      addToPolicy(spot, needed),
      { isTemporary: false },
    )
  }

  /** What to tell of a set that somebody has deleted. */
  deletion({ version, isDestroyed, deletedAt }: Reading & { kind: 'deleted' }): VaultFault {
    const [mount, path] = [this.#spot?.mount ?? '', this.#spot?.path ?? '']
    return isDestroyed
      ? new VaultFault(
          `version ${version} was destroyed (404)`,
          `put an older one in force with \`vault kv rollback -mount=${mount} -version=<older> ${path}\`, or write a new set`,
          { isTemporary: false },
        )
      : new VaultFault(
          `version ${version} was deleted on ${deletedAt} (404)`,
          `bring it back with \`vault kv undelete -mount=${mount} -versions=${version} ${path}\``,
          { isTemporary: false },
        )
  }

  #present(answer: Answer): Reading {
    const outer = fieldsOf(answer.body.data)
    const { version } = fieldsOf(outer.metadata)
    if (typeof version === 'number' && outer.data === fieldsOf(outer.data)) {
      return { kind: 'present', version, data: fieldsOf(outer.data) }
    }
    this.#spot = undefined
    throw new VaultFault(
      `the answer (${answer.status}) is not that of a KV version 2 engine`,
      'look at the mount with `vault secrets list -detailed`',
      { isTemporary: false },
    )
  }

  #missing(answer: Answer, spot: Spot): Reading {
    const {
      version,
      destroyed,
      deletion_time: deletedAt,
    } = fieldsOf(fieldsOf(answer.body.data).metadata)
    if (typeof version === 'number') {
      return {
        kind: 'deleted',
        version,
        isDestroyed: destroyed === true,
        deletedAt: typeof deletedAt === 'string' ? deletedAt.slice(0, 19) : 'an unknown day',
      }
    }
    if (answer.errors.length > 0) throw this.#refusal(answer, spot, 'read', ['read'])
    if (spot.path.startsWith('data/')) {
      throw new VaultFault(
        `there is nothing at data/… below the mount ${spot.mount} (404)`,
        `leave data/ out: vault:${spot.mount}/${spot.path.slice('data/'.length)}`,
        { isTemporary: false },
      )
    }
    return { kind: 'absent', version: 0 }
  }

  /** Where the mount ends and the path begins; asked once, and again after it turned out wrong. */
  async #find(): Promise<Spot> {
    this.#spot ??= await this.#ask()
    return this.#spot
  }

  async #ask(): Promise<Spot> {
    const whole = this.#segments.join('/')
    const answer = await this.#client.ask({
      method: 'GET',
      path: `sys/internal/ui/mounts/${encoded(whole)}`,
    })
    if (answer.status >= 300) {
      // Vault says this as well where the token may not look; the mount is most often one segment.
      return { mount: this.#segments[0] ?? '', path: this.#segments.slice(1).join('/') }
    }
    const { path: at, type, options } = fieldsOf(answer.body.data)
    if (typeof at !== 'string' || typeof type !== 'string') {
      throw new VaultFault(
        `the answer about the mount (${answer.status}) is not Vault's`,
        'look at what answers at the address of Vault',
        { isTemporary: false },
      )
    }
    const mount = at.replace(/\/$/, '')
    if (!whole.startsWith(`${mount}/`)) {
      throw new VaultFault(
        `${whole} names a mount and no path in it`,
        'write the path behind the mount, like vault:secret/otel/tokens',
        { isTemporary: false },
      )
    }
    if (type !== 'kv' && type !== 'generic') {
      throw new VaultFault(
        `the mount ${mount} is a ${type.slice(0, 40)} engine`,
        'name a KV version 2 engine: `vault secrets list -detailed` shows them',
        { isTemporary: false },
      )
    }
    const { version } = fieldsOf(options)
    if (String(version) !== '2') {
      throw new VaultFault(
        `the mount ${mount} is KV version 1, which has no versions to compare`,
        `turn it into version 2 with \`vault kv enable-versioning ${mount}\`, or use another mount`,
        { isTemporary: false },
      )
    }
    return { mount, path: whole.slice(mount.length + 1) }
  }

  #refusal(
    answer: Answer,
    spot: Spot,
    doing: 'read' | 'write',
    needed: readonly Capability[],
  ): VaultFault {
    const { status } = answer
    this.#spot = undefined
    if (status === 403) {
      return new VaultFault(`permission denied to ${doing} it (403)`, addToPolicy(spot, needed), {
        isTemporary: false,
      })
    }
    if (status === 404 || status === 405) {
      return new VaultFault(
        `there is no KV version 2 engine at ${spot.mount}/ (${status})`,
        'look at `vault secrets list -detailed`, and at the namespace',
        { isTemporary: false },
      )
    }
    if (says(answer, 'versioned data')) {
      return new VaultFault(
        `the mount ${spot.mount} is being turned into KV version 2 (${status})`,
        'nothing: it is back in a moment',
        { isTemporary: true },
      )
    }
    if (isTooLarge(answer)) {
      return new VaultFault(
        `the set is too large for Vault (${status})`,
        'Vault takes 10,000 entries in a list (max_json_array_element_count of its listener) and 1 MiB with Raft (max_entry_size of its storage): raise them, or spread the tokens over several places',
        { isTemporary: false },
      )
    }
    return new VaultFault(
      `Vault refused to ${doing} it (${status})`,
      'look at the audit log of Vault for this request',
      { isTemporary: false },
    )
  }
}

/** The grant to add, as it stands in a policy file. */
function addToPolicy({ mount, path }: Spot, needed: readonly Capability[]): string {
  const list = needed.map((capability) => `"${capability}"`).join(', ')
  return `add to its policy: path "${mount}/data/${path}" { capabilities = [${list}] }`
}

function apiPath({ mount, path }: Spot, kind: 'data'): string {
  return `${encoded(mount)}/${kind}/${encoded(path)}`
}

function encoded(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/')
}
