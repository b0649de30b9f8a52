/** Measuring memory. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const gc: () => void = runInNewContext('gc')

/** Frees what nobody holds any more. */
export function collectGarbage(): void {
  gc()
}

/** Bytes of the heap that are in use. */
export function heapBytes(): number {
  gc()
  return process.memoryUsage().heapUsed
}
