/** Opens what delivers to a place, by the word in front of its colon. */
import type { Delivery } from './delivery.ts'
import { DokployDelivery } from './dokploy/delivery.ts'
import type { DokploySettings } from './dokploy/exchange.ts'
import { ExecDelivery } from './exec-delivery.ts'
import { FileDelivery } from './file-delivery.ts'
import { KeyringDelivery } from './keyring/delivery.ts'
import type { Place } from './place.ts'
import { SourceFault } from './source-fault.ts'

/** What deliveries need besides their place; each part only for places of its kind. */
export interface DeliverySettings {
  /** How long a program or a server may take over one delivery. */
  readonly timeoutMs: number
  readonly dokploy?: DokploySettings | undefined
}

/** @throws {SourceFault} in words, where the place is not one to deliver to, or a setting is missing. */
export async function openDelivery(place: Place, settings: DeliverySettings): Promise<Delivery> {
  switch (place.scheme) {
    case 'file':
      return new FileDelivery(place)
    case 'exec':
      return new ExecDelivery(place, settings)
    case 'keyring':
      return new KeyringDelivery(place, settings)
    case 'dokploy':
      return await DokployDelivery.open(
        place,
        settings.dokploy ?? missing(place, 'TOLLGATE_DOKPLOY_URL and TOLLGATE_DOKPLOY_API_KEY'),
      )
    default:
      throw new SourceFault(
        place.text,
        'tokens cannot be delivered there',
        'deliver to file:, exec:, vault:, aws:, dokploy: or keyring:',
        { isTemporary: false },
      )
  }
}

function missing(place: Place, options: string): never {
  throw new SourceFault(place.text, 'it is not said how to reach it', `set ${options}`, {
    isTemporary: false,
  })
}
