/**
 * Delivers a token to an agent that Dokploy runs: as a variable of an application or a compose
 * service, which is put in force by starting it anew, or into a file that is mounted into it, which
 * running agents see at once.
 */
import type { Delivery, TokenInPlain } from '../delivery.ts'
import { currentValue } from '../dotenv.ts'
import type { Place } from '../place.ts'
import { repeated } from '../token-value.ts'
import { DokployExchange, type DokploySettings, fieldsOf } from './exchange.ts'
import { afterWriting, atPlace, DokployProblem } from './problem.ts'
import { rollOut } from './rollout.ts'
import { environmentOf } from './service.ts'
import { type MountTarget, type ServiceTarget, type Target, targetOf } from './target.ts'
import { listTasks } from './tasks.ts'
import { changedText, type DokployText, putToken } from './text-edit.ts'

const DEPLOY_TIMEOUT_MS = 600_000
const POLL_MS = 3000
/** Stands for the token where a change is only tried. */
const TRIAL = 'trial'

export class DokployDelivery implements Delivery {
  readonly place: string
  readonly #target: Target
  readonly #exchange: DokployExchange
  readonly #settings: DokploySettings

  private constructor(place: Place, exchange: DokployExchange, settings: DokploySettings) {
    this.place = place.text
    this.#target = targetOf(place)
    this.#exchange = exchange
    this.#settings = settings
  }

  /** @throws {SourceFault} where the place or a setting is not one. */
  static async open(place: Place, settings: DokploySettings): Promise<DokployDelivery> {
    return await atPlace(
      place.text,
      async () => new DokployDelivery(place, new DokployExchange(settings), settings),
    )
  }

  async check(): Promise<string> {
    const target = this.#target
    return await atPlace(this.place, () =>
      target.kind === 'mount' ? this.#checkMount(target) : this.#checkService(target),
    )
  }

  async deliver(token: TokenInPlain): Promise<string> {
    const target = this.#target
    return await atPlace(this.place, () =>
      target.kind === 'mount'
        ? this.#deliverToMount(target, token)
        : this.#deliverToService(target, token),
    )
  }

  async close(): Promise<void> {
    await this.#exchange.close()
  }

  async #checkService(target: ServiceTarget): Promise<string> {
    const { kind, variable, how } = target
    const text = environmentOf(this.#exchange, target)
    const environment = await text.read()
    changedText(TRIAL, variable, environment)
    const service = text.service()
    const doing = currentValue(environment, variable) === undefined ? 'add' : 'replace'
    const busy = service.isDeploying ? '; it is being deployed right now, which is waited for' : ''
    const idle = service.isStopped ? '; it is stopped, and would be started' : ''
    const blind =
      (await listTasks(this.#exchange, service)) === undefined
        ? '; the key lacks docker: read, so that nobody would see whether the new one runs'
        : ''
    return `would ${doing} ${variable} in the environment of ${kind} ${service.appName} and ${how} it${repeated(environment, variable)}${busy}${idle}${blind}${this.#exchange.isInTheClear ? CLEAR : ''}`
  }

  async #deliverToService(target: ServiceTarget, { id: tokenId, holder, token }: TokenInPlain) {
    const { kind, variable, how } = target
    const text = environmentOf(this.#exchange, target)
    const edit = await putToken(text, token, variable)
    const service = text.service()
    const { deployTimeoutMs = DEPLOY_TIMEOUT_MS, pollMs = POLL_MS } = this.#settings
    const seen = await afterWriting(() =>
      rollOut(this.#exchange, service, {
        how,
        title: `Tollgate: token ${tokenId} for ${holder}`,
        isChanged: edit !== 'there',
        timeoutMs: deployTimeoutMs,
        pollMs,
      }),
    )
    const wrote = edit === 'there' ? 'had it already' : `wrote ${variable}`
    return `${wrote} in the environment of ${kind} ${service.appName} and ${seen}${repeated(service.environment, variable)}${BESIDE[edit]}`
  }

  async #checkMount({ id, variable }: MountTarget): Promise<string> {
    const { path, text } = this.#mount(id)
    const content = await text.read()
    changedText(TRIAL, variable, content)
    const what = variable ?? 'the content'
    const doubled = variable === undefined ? '' : repeated(content, variable)
    const clear = this.#exchange.isInTheClear ? CLEAR : ''
    return `would replace ${what} of the mounted file ${path()} in place, without a restart${doubled}${clear}`
  }

  async #deliverToMount({ id, variable }: MountTarget, { token }: TokenInPlain): Promise<string> {
    const { path, text } = this.#mount(id)
    const edit = await putToken(text, token, variable)
    const wrote = edit === 'there' ? 'had it already' : `wrote ${variable ?? 'the token'}`
    return `${wrote} in the mounted file ${path()}, which running containers see at once; agents that read it once have to be restarted${BESIDE[edit]}`
  }

  #mount(mountId: string): { readonly path: () => string; readonly text: DokployText } {
    let path = ''
    const exchange = this.#exchange
    const text: DokployText = {
      async read() {
        const { type, content, mountPath } = fieldsOf(await exchange.get('mounts.one', { mountId }))
        if (type !== 'file') {
          throw new DokployProblem(
            `the mount is of the type ${typeof type === 'string' ? type : 'unknown'}, and not a file`,
            'make a mount of the type File Mount under Advanced, Volumes, and write its id',
          )
        }
        path = typeof mountPath === 'string' ? mountPath : ''
        const file = typeof content === 'string' ? content : ''
        exchange.hide(file)
        return file
      },
      async write(content) {
        exchange.hide(content)
        await exchange.post('mounts.update', { mountId, content })
      },
    }
    return { path: () => path, text }
  }
}

const CLEAR = '; over http the key and the token travel in the clear'

const BESIDE = {
  there: '',
  written: '',
  written_beside_another:
    '; somebody else changed the same text at the same moment: see whether their change is still there',
} as const
