/** The places that the settings name. */
import { LocalTarget } from './local-target.ts'
import { S3Target } from './s3-target.ts'
import type { Settings } from './settings.ts'
import type { Target } from './target.ts'

/** The folder first: it is the nearest. */
export function targetsOf({ directory, s3, minFreeBytes }: Settings): readonly Target[] {
  return [
    ...(directory === undefined ? [] : [new LocalTarget(directory, minFreeBytes)]),
    ...(s3 === undefined ? [] : [new S3Target(s3)]),
  ]
}
