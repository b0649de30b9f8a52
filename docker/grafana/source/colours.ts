/** Colours that mean the same on every dashboard. The names are Grafana's own, so both themes have them. */
import type { Outcome } from '../../../src/pipeline/outcome.ts'

export const GOOD = 'green'
export const ATTENTION = 'orange'
export const BAD = 'red'
/** Neither good nor bad: a figure to know. */
export const PLAIN = 'blue'
export const QUIET = 'text'

/** Green was taken, yellow came too often, blue has a token that is not good, purple is no OTLP, red is lost. */
export const OUTCOME_COLOURS: Readonly<Record<Outcome, string>> = {
  accepted: 'green',
  collector_refused: 'orange',
  banned: 'dark-purple',
  rate_limited: 'yellow',
  token_missing: 'light-blue',
  token_unknown: 'blue',
  token_expired: 'dark-blue',
  token_not_yet_valid: 'semi-dark-blue',
  tokens_unavailable: 'dark-red',
  scope_denied: 'super-light-blue',
  certificate_unknown: 'super-light-purple',
  too_large: 'dark-orange',
  malformed: 'purple',
  unknown_path: 'light-purple',
  bad_method: 'semi-dark-purple',
  bad_content_type: 'semi-dark-purple',
  unsupported_encoding: 'semi-dark-purple',
  overloaded: 'semi-dark-orange',
  draining: 'light-orange',
  collector_unavailable: 'red',
  collector_timeout: 'light-red',
  internal: 'dark-red',
  client_gone: 'text',
}

/** Of the three ends of a request in the histogram of durations. */
export const GROUP_COLOURS = { answered: GOOD, refused: 'yellow', failed: BAD }

/** How a wait ended. */
export const WAIT_COLOURS = { saved: GOOD, refused: BAD, gone: QUIET }
