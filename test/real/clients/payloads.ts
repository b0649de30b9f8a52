/** Messages made from a seed: the same numbers make the same bytes. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Numbers from 0 up to 1, the same for the same seed (mulberry32). */
export function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Bytes of which gzip saves about a third. */
export function payload(sizeBytes: number, random: () => number): Buffer {
  const bytes = Buffer.alloc(sizeBytes)
  for (let at = 0; at < sizeBytes; at += 1) bytes[at] = random() * (at % 2 === 0 ? 256 : 8)
  return bytes
}

/** Sizes at which frames, windows and buffers begin and end, with and without the gRPC prefix. */
export const EDGE_SIZES = [
  ...[0, 1, 5, 16_378, 16_379, 16_380, 16_383, 16_384, 16_385, 65_530, 65_535, 65_536],
  ...[262_143, 262_144, 262_145, 1_048_576, 5_000_000],
]

/** The same in another order. */
export function shuffled<T>(list: readonly T[], random: () => number): T[] {
  const left = [...list]
  const order: T[] = []
  while (left.length > 0) order.push(...left.splice(Math.floor(random() * left.length), 1))
  return order
}

/** A message in a file, for programs that read it from there. */
export interface Message {
  readonly path: string
  readonly bytes: Buffer
}

/** Writes messages into a folder, each once. */
export class Messages {
  readonly #folder: string
  readonly #known = new Map<string, Promise<Message>>()

  constructor(folder: string) {
    this.#folder = folder
  }

  /** The message of this size made from this seed. */
  of(sizeBytes: number, seed = 1): Promise<Message> {
    return this.named(`${sizeBytes}-${seed}`, () => payload(sizeBytes, createRandom(seed)))
  }

  /** The message of this name, made the first time. */
  named(name: string, make: () => Buffer): Promise<Message> {
    let known = this.#known.get(name)
    if (known === undefined) {
      known = this.#write(name, make())
      this.#known.set(name, known)
    }
    return known
  }

  async #write(name: string, bytes: Buffer): Promise<Message> {
    await mkdir(this.#folder, { recursive: true })
    const path = join(this.#folder, name)
    await writeFile(path, bytes)
    return { path, bytes }
  }
}
