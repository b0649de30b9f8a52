/**
 * How a token set names client certificates that need no token: `{"san": …}`, `{"cn": …}` or
 * `{"sha256": …}`. Names are compared as a whole; there are no wildcards.
 */
import { type Field, isRecord } from './token-fields.ts'
import { digestOf } from './token-secret.ts'

/** What a set names a certificate by, as `ClientCertificate.names` has it: `dns:agent-7.example.com`. */
export const CLIENT_CERTIFICATE: Field<string> = {
  what: 'a client certificate',
  expected:
    'one of {"san": "agent-7.example.com"} (a DNS name, a URI such as spiffe://…, or an e-mail address), {"cn": "agent-7"} and {"sha256": "64 hexadecimal digits, the fingerprint"}',
  read(value) {
    if (!isRecord(value)) return undefined
    const [[kind, text] = [], ...more] = Object.entries(value)
    if (more.length > 0 || typeof text !== 'string') return undefined
    if (kind === 'sha256') return fingerprintFrom(text)
    if (!isPlain(text)) return undefined
    if (kind === 'cn') return `cn:${text}`
    return kind === 'san' ? subjectAltName(text) : undefined
  },
}

/**
 * Stands in for the digest of a token: tells entries apart as digests do. No token has it, for the
 * text that is hashed has spaces.
 */
export function certificateDigest(name: string): string {
  return digestOf(`client certificate ${name}`)
}

/** As OpenSSL prints it, with colons, or without. */
function fingerprintFrom(text: string): string | undefined {
  const digits = text.replaceAll(':', '').toLowerCase()
  return /^[0-9a-f]{64}$/.test(digits) ? `sha256:${digits}` : undefined
}

function subjectAltName(text: string): string | undefined {
  if (/^[a-z][a-z0-9+.-]*:/i.test(text)) return `uri:${text}`
  const at = text.lastIndexOf('@')
  // The part before the @ is the mailbox's own business (RFC 5321 §2.4), the host is not.
  if (at > 0) return `email:${text.slice(0, at)}${text.slice(at).toLowerCase()}`
  return /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/i.test(text) ? `dns:${text.toLowerCase()}` : undefined
}

function isPlain(text: string): boolean {
  return text.length > 0 && text.length <= 512 && text.trim() === text && /^[^\p{C}]+$/u.test(text)
}
