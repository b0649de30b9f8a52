/** Measuring memory. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
// What buffers held is freed by a thread in the background otherwise, and counted until then.
setFlagsFromString('--no-concurrent-array-buffer-sweeping')
const gc: () => void = runInNewContext('gc')

/** Frees what nobody holds any more. */
export function collectGarbage(): void {
  // The first may only end a collection that had begun before, to which what is younger is alive.
  gc()
  gc()
}

/** Bytes of the heap that are in use. */
export function heapBytes(): number {
  collectGarbage()
  return process.memoryUsage().heapUsed
}
