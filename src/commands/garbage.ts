/**
 * Sets V8's garbage collector up for a process that passes bodies on: much memory outside the heap
 * that is soon free again, and little that lives.
 */
import { PerformanceObserver } from 'node:perf_hooks'
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/** V8 that knows the flag below: Node 24's is 13. */
const FIRST_MAJOR = 13
/** Both halves of the young generation. V8 itself would go to four times as much. */
const YOUNG_BYTES = 32 * 1024 * 1024

/**
 * To be called once, early. Left to itself, V8 marks the whole heap after each 64 MB of buffers,
 * whether they are still in use or not, and lets the young generation grow to 128 MB, so that it is
 * hardly ever collected and the buffers of bodies that have long been sent fill the memory.
 */
export function tuneGarbageCollection(): void {
  const [major] = process.versions.v8.split('.').map(Number)
  if (major !== undefined && major >= FIRST_MAJOR) {
    setFlagsFromString('--external-memory-accounted-in-global-limit')
  }
  // The size itself can only be set on the command line, growth at any time.
  let isGrowing = true
  const observer = new PerformanceObserver(() => {
    const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')
    const mayGrow = young === undefined || young.space_size < YOUNG_BYTES
    if (mayGrow === isGrowing) return
    isGrowing = mayGrow
    setFlagsFromString(`--semi-space-growth-factor=${mayGrow ? 2 : 1}`)
  })
  observer.observe({ entryTypes: ['gc'] })
}
