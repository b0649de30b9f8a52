/**
 * The Huffman code of HPACK (RFC 7541 section 5.2 and Appendix B). The code is canonical: symbols of
 * the same length follow each other in their own order, so the lengths alone give all of it.
 */

/** Length in bits of the code of each octet, and of EOS at the end. */
// biome-ignore format: a table is read in rows of sixteen
const LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
  28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
  5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
  6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
  21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
]
const EOS = 256

/** Inner nodes of the code's tree from 0, the root; a leaf is -1 - symbol. */
const TREE: readonly (readonly (number | undefined)[])[] = buildTree()
/**
 * The code as a machine that eats four bits at a time. A state is a node of the code's tree. Each
 * entry is `next << 10 | symbol << 1 | emits`, or -1 where the bits cannot come (they hold EOS). No
 * code is shorter than five bits, so four bits emit at most one symbol.
 */
const MACHINE: Int32Array = buildMachine()
/** Whether a string may end in this state: only bits of EOS, at most seven, are left (section 5.2). */
const MAY_END: Uint8Array = buildEnds()

function buildTree(): (number | undefined)[][] {
  const tree: (number | undefined)[][] = [[]]
  const order = LENGTHS.map((_, symbol) => symbol).sort(
    (a, b) => (LENGTHS[a] as number) - (LENGTHS[b] as number) || a - b,
  )
  let code = 0
  let length = LENGTHS[order[0] as number] as number
  for (const [at, symbol] of order.entries()) {
    const own = LENGTHS[symbol] as number
    if (at > 0) code = (code + 1) * 2 ** (own - length)
    length = own
    let node = 0
    for (let bit = own - 1; bit > 0; bit -= 1) {
      const branch = Math.floor(code / 2 ** bit) % 2
      const next: number = tree[node]?.[branch] ?? tree.push([]) - 1
      ;(tree[node] as number[])[branch] = next
      node = next
    }
    ;(tree[node] as number[])[code % 2] = -1 - symbol
  }
  return tree
}

function buildMachine(): Int32Array {
  const machine = new Int32Array(TREE.length * 16)
  for (let state = 0; state < TREE.length; state += 1) {
    for (let nibble = 0; nibble < 16; nibble += 1)
      machine[state * 16 + nibble] = step(state, nibble)
  }
  return machine
}

function step(state: number, nibble: number): number {
  let node = state
  let emitted = 0
  for (let bit = 3; bit >= 0; bit -= 1) {
    const next = TREE[node]?.[(nibble >> bit) & 1]
    if (next === undefined || next === -1 - EOS) return -1
    if (next < 0) {
      emitted = ((-1 - next) << 1) | 1
      node = 0
    } else node = next
  }
  return (node << 10) | emitted
}

function buildEnds(): Uint8Array {
  const ends = new Uint8Array(TREE.length)
  let node: number | undefined = 0
  for (let bits = 0; bits <= 7 && node !== undefined; bits += 1) {
    ends[node] = 1
    node = TREE[node]?.[1]
  }
  return ends
}

/**
 * The string that `bytes` from `start` to `end` are the code of, or undefined where they are none:
 * EOS inside, padding of more than seven bits, or padding that is not ones.
 */
export function huffmanDecode(bytes: Uint8Array, start: number, end: number): string | undefined {
  let state = 0
  let text = ''
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at] as number
    let entry = MACHINE[state * 16 + (byte >> 4)] as number
    if (entry < 0) return undefined
    if (entry & 1) text += String.fromCharCode((entry >> 1) & 0xff)
    entry = MACHINE[(entry >> 10) * 16 + (byte & 15)] as number
    if (entry < 0) return undefined
    if (entry & 1) text += String.fromCharCode((entry >> 1) & 0xff)
    state = entry >> 10
  }
  return MAY_END[state] === 1 ? text : undefined
}
