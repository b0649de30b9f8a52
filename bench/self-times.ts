/** Reads V8's CPU profiles. */
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')

/** The parts of a `.cpuprofile` file that are used. Times in microseconds. */
export interface CpuProfile {
  readonly startTime: number
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: {
      readonly functionName: string
      readonly url: string
      readonly lineNumber: number
    }
  }[]
  /** The node that was running at each sample, and the time since the sample before. */
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/** Time spent in functions themselves, without what they called, in microseconds. */
export interface SelfTimes {
  /** All but idle time. */
  readonly busyUs: number
  readonly byFunction: ReadonlyMap<string, number>
  readonly byFile: ReadonlyMap<string, number>
}

/** Adds up the samples between two moments of the profiler's clock. Idle time is left out. */
export function selfTimes(profile: CpuProfile, fromUs: number, toUs: number): SelfTimes {
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]))
  const byFunction = new Map<string, number>()
  const byFile = new Map<string, number>()
  let busyUs = 0
  let atUs = profile.startTime
  for (const [index, id] of profile.samples.entries()) {
    atUs += profile.timeDeltas[index] ?? 0
    /** A sample stands for the time until the next one. */
    const us = profile.timeDeltas[index + 1] ?? 0
    const frame = frames.get(id)
    if (frame === undefined || atUs < fromUs || atUs > toUs) continue
    if (frame.functionName === '(idle)') continue
    busyUs += us
    const file = shortName(frame.url)
    const name = frame.functionName === '' ? '(anonymous)' : frame.functionName
    const place = file === '' ? name : `${name}  ${file}:${frame.lineNumber + 1}`
    byFunction.set(place, (byFunction.get(place) ?? 0) + us)
    byFile.set(file || name, (byFile.get(file || name) ?? 0) + us)
  }
  return { busyUs, byFunction, byFile }
}

function shortName(url: string): string {
  const path = url.replace(/^file:\/\//, '')
  return path.startsWith(`${ROOT}/`) ? path.slice(ROOT.length + 1) : path
}
