import { hash } from 'node:crypto'

/**
 * A holder's name as it can stand in a path: `[a-z0-9-]`, at most 40 of them. Where that loses
 * something, eight digits of the name's digest tell it from others that would read the same.
 */
export function slugOf(holder: string): string {
  const plain = holder
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 40)
  return plain === holder && plain !== ''
    ? plain
    : `${plain || 'holder'}-${hash('sha256', holder).slice(0, 8)}`
}
