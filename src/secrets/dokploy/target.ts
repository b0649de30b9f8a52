/** What stands behind `dokploy:`: `application/ID#VARIABLE`, `compose/ID#VARIABLE`, `mount/ID[#VARIABLE]`. */
import { isVariableName } from '../dotenv.ts'
import type { Place } from '../place.ts'
import { SourceFault } from '../source-fault.ts'

/**
 * How a changed environment is put in force. `reload`: the service is started anew from the image
 * that is there. `redeploy`: built anew from the code that is there. `deploy`: as redeploy, with the
 * newest code.
 */
export type How = 'reload' | 'redeploy' | 'deploy'

export interface ServiceTarget {
  readonly kind: 'application' | 'compose'
  readonly id: string
  readonly variable: string
  readonly how: How
}

export interface MountTarget {
  readonly kind: 'mount'
  readonly id: string
  /** Undefined: the file holds the token alone. */
  readonly variable: string | undefined
}

export type Target = ServiceTarget | MountTarget

const FORMS =
  'write dokploy:application/ID#VARIABLE, dokploy:compose/ID#VARIABLE, dokploy:mount/ID or dokploy:mount/ID#VARIABLE'

/**
 * Reads the place. `?how=reload|redeploy|deploy` goes before the `#`. By default an application is
 * reloaded, which takes seconds, builds nothing and brings no code with it that nobody asked for; a
 * compose service, which Dokploy cannot reload, is redeployed.
 *
 * @throws {SourceFault} in words.
 */
export function targetOf(place: Place): Target {
  const refuse = (problem: string, advice: string): never => {
    throw new SourceFault(place.text, problem, advice, { isTemporary: false })
  }
  const [, kind, id, , query] =
    /^(application|compose|mount)\/([\w-]{1,100})(\?(.*))?$/.exec(place.path) ?? []
  if (kind === undefined || id === undefined) {
    return refuse('names neither an application, a compose service nor a mount', FORMS)
  }
  const variable = place.field
  if (variable !== undefined && !isVariableName(variable)) {
    return refuse(
      `${JSON.stringify(variable)} is no name of a variable`,
      'letters, digits and _ stand behind the #, and no digit first',
    )
  }
  if (kind === 'mount') {
    if (query !== undefined) refuse('a mount is changed in place', 'leave out what follows the ?')
    return { kind, id, variable }
  }
  if (variable === undefined) return refuse('does not say which variable to set', FORMS)
  const service = kind === 'compose' ? 'compose' : 'application'
  const how = howOf(query, service)
  if (how === undefined) {
    const ways = service === 'compose' ? 'redeploy or deploy' : 'reload, redeploy or deploy'
    return refuse(`?${query} is no way to put it in force`, `write ?how= with ${ways}`)
  }
  return { kind: service, id, variable, how }
}

function howOf(query: string | undefined, kind: 'application' | 'compose'): How | undefined {
  if (query === undefined) return kind === 'compose' ? 'redeploy' : 'reload'
  const [, how] = /^how=(reload|redeploy|deploy)$/.exec(query) ?? []
  if (how === 'redeploy' || how === 'deploy') return how
  return how === 'reload' && kind === 'application' ? how : undefined
}
