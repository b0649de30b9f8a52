/** Any header blocks, for property tests: choices that become instructions once the table is known. */
import fc from 'fast-check'
import type { Instruction, ReferenceTable } from './reference-hpack.ts'

export interface Choice {
  readonly kind: Instruction['kind']
  /** Picks an entry, or a size, among those there are. */
  readonly pick: number
  readonly isNew: boolean
  readonly name: string
  readonly value: string
  readonly isHuffman: boolean
}

const anyName = fc.oneof(
  fc.constantFrom('content-type', 'traceparent', 'x', 'authorization', 'user-agent'),
  fc.stringMatching(/^[a-z0-9-]{1,30}$/),
)
const anyValue = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .uint8Array({ maxLength: 40 })
      .map((bytes) => Buffer.from(bytes).toString('latin1')),
  },
  { weight: 1, arbitrary: fc.integer({ min: 100, max: 4200 }).map((length) => 'v'.repeat(length)) },
)
const KINDS: readonly Instruction['kind'][] = [
  'indexed',
  'incremental',
  'without',
  'never',
  'resize',
]
export const anyChoice: fc.Arbitrary<Choice> = fc.record({
  kind: fc.constantFrom(...KINDS),
  pick: fc.nat(10_000),
  isNew: fc.boolean(),
  name: anyName,
  value: anyValue,
  isHuffman: fc.boolean(),
})

/** Blocks of one connection, in order. */
export const anyBlocks: fc.Arbitrary<Choice[][]> = fc.array(fc.array(anyChoice, { maxLength: 8 }), {
  maxLength: 15,
})

/** The instruction that a choice comes to; undefined where none is allowed. */
export function instruct(
  table: ReferenceTable,
  choice: Choice,
  maxTableBytes: number,
  mayResize: boolean,
): Instruction | undefined {
  const { kind, pick, isNew, name, value, isHuffman } = choice
  if (kind === 'resize') {
    if (!mayResize) return undefined
    return { kind, bytes: pick % (maxTableBytes + 1) }
  }
  // Half of the picks go to the dynamic table where there is one.
  const { length } = table
  const index = pick % 2 === 0 && length > 61 ? 62 + (pick % (length - 61)) : 1 + (pick % length)
  if (kind === 'indexed') return { kind, index }
  return { kind, index: isNew ? 0 : index, name, value, isHuffman }
}
