import { isatty } from 'node:tty'
import type { Config } from '../config/config.ts'

/** How lines are written, also where the option leaves it open: text for a person at a terminal. */
export function formatOf({ logFormat }: Config): 'json' | 'text' {
  if (logFormat === 'auto') return isatty(2) ? 'text' : 'json'
  return logFormat
}
