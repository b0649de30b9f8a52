/** Opens what delivers to a place, by the word in front of its colon. */
import { AwsDelivery } from './aws/delivery.ts'
import type { Delivery } from './delivery.ts'
import { DokployDelivery } from './dokploy/delivery.ts'
import type { DokploySettings } from './dokploy/exchange.ts'
import { ExecDelivery } from './exec-delivery.ts'
import { FileDelivery } from './file-delivery.ts'
import { KeyringDelivery } from './keyring/delivery.ts'
import { openVault } from './open-source.ts'
import type { Place } from './place.ts'
import { SourceFault } from './source-fault.ts'
import { VaultDelivery } from './vault/delivery.ts'
import type { VaultSettings } from './vault/settings.ts'

/** What deliveries need besides their place; each part only for places of its kind. */
export interface DeliverySettings {
  /** How long a program or a server may take over one delivery. */
  readonly timeoutMs: number
  /** How Vault is reached; one client is shared by all places that are opened with the same object. */
  readonly vault?: VaultSettings | undefined
  /** Undefined parts are named when a place of Dokploy needs them. */
  readonly dokploy?: DokployReach | undefined
}

/** The settings of Dokploy as far as they are known. */
export type DokployReach = {
  readonly [K in keyof DokploySettings]?: DokploySettings[K] | undefined
}

/** A keyring that does not answer asks somebody for its password, who may have gone. */
const KEYRING_TIMEOUT_MS = 60_000

/** @throws {SourceFault} in words, where the place is not one to deliver to, or a setting is missing. */
export async function openDelivery(place: Place, settings: DeliverySettings): Promise<Delivery> {
  switch (place.scheme) {
    case 'file':
      return new FileDelivery(place)
    case 'exec':
      return new ExecDelivery(place, settings)
    case 'keyring':
      return new KeyringDelivery(place, {
        timeoutMs: Math.min(settings.timeoutMs, KEYRING_TIMEOUT_MS),
      })
    case 'vault':
      return new VaultDelivery(await openVault(place, settings), place)
    case 'aws':
      return await AwsDelivery.open(place)
    case 'dokploy':
      return await DokployDelivery.open(place, dokployOf(place, settings))
    default:
      throw new SourceFault(
        place.text,
        'tokens cannot be delivered there',
        'deliver to file:, exec:, vault:, aws:, dokploy: or keyring:',
        { isTemporary: false },
      )
  }
}

function dokployOf(place: Place, { dokploy = {}, timeoutMs }: DeliverySettings): DokploySettings {
  const { url, apiKey, deployTimeoutMs = timeoutMs } = dokploy
  if (url !== undefined && apiKey !== undefined) {
    return { ...dokploy, url, apiKey, deployTimeoutMs }
  }
  const missing = [
    ...(url === undefined ? ['TOLLGATE_DOKPLOY_URL'] : []),
    ...(apiKey === undefined ? ['TOLLGATE_DOKPLOY_API_KEY'] : []),
  ]
  throw new SourceFault(
    place.text,
    'it is not said how Dokploy is reached',
    `set ${missing.join(' and ')}`,
    { isTemporary: false },
  )
}
