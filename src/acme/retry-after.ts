/** Retry-After (RFC 9110 §10.2.3): seconds, or a date. */

/** When it says to come back, Unix milliseconds; undefined where it says nothing that can be read. */
export function retryAtFrom(header: string | undefined, wallMs: number): number | undefined {
  if (header === undefined) return undefined
  const text = header.trim()
  if (/^\d{1,9}$/.test(text)) return wallMs + Number(text) * 1000
  const at = Date.parse(text)
  return Number.isNaN(at) ? undefined : at
}
