/**
 * What the parent and a gateway say to each other over their channel. Parent and gateway may be of
 * different versions after an update: a message that is not known is passed over, and none of these
 * may change its meaning.
 */

/** What the parent tells a gateway. */
export type Order =
  /** Take what only one gateway may have (command socket, ban file), and accept. */
  | { readonly kind: 'open'; readonly isFirst: boolean }
  /** Let go of all that, accept no more, finish what is under way, end. */
  | { readonly kind: 'hand-over' }
  /** Finish what is under way and end. */
  | { readonly kind: 'stop'; readonly why: string }
  | { readonly kind: 'stop-at-once'; readonly why: string }
  /** Read tokens and certificate again. */
  | { readonly kind: 'reload' }
  /** What came of a restart that the gateway asked for; `problem` undefined: its successor is ready. */
  | { readonly kind: 'restart-outcome'; readonly pid: number; readonly problem?: string }
  /** Seal session tickets with this key from now on: 48 bytes in base64, a secret. */
  | { readonly kind: 'ticket-key'; readonly key: string }
  /** Say that you are alive. */
  | { readonly kind: 'ping' }

/** What a gateway tells the parent. */
export type Report =
  /** Configuration, certificate and tokens are good. It waits to be told to open. */
  | { readonly kind: 'prepared' }
  /** It accepts connections. */
  | { readonly kind: 'serving' }
  /** After `hand-over`: nothing is held any more that the next one needs. */
  | { readonly kind: 'released' }
  /** Somebody asks for a restart over the command socket. */
  | { readonly kind: 'restart-asked' }
  /** The answer to `ping`. */
  | { readonly kind: 'alive' }

const ORDERS = new Set([
  ...['open', 'hand-over', 'stop', 'stop-at-once', 'reload', 'restart-outcome'],
  ...['ticket-key', 'ping'],
])
const REPORTS = new Set(['prepared', 'serving', 'released', 'restart-asked', 'alive'])

/** The order in a message; undefined for anything else. */
export function readOrder(message: unknown): Order | undefined {
  return isOneOf(ORDERS, message) ? (message as Order) : undefined
}

/** The report in a message; undefined for anything else. */
export function readReport(message: unknown): Report | undefined {
  return isOneOf(REPORTS, message) ? (message as Report) : undefined
}

function isOneOf(kinds: ReadonlySet<string>, message: unknown): boolean {
  if (typeof message !== 'object' || message === null || !('kind' in message)) return false
  return typeof message.kind === 'string' && kinds.has(message.kind)
}
