/** Requests as a person would make them with curl. */
import { commandLine } from './programs.ts'
import { authority, mainAddress, type Target } from './target.ts'

/** With the token, which is expected in the variable TOKEN. */
export const WITH_TOKEN = ['-H', 'authorization: Bearer $TOKEN'] as const
/** An export without anything in it. */
export const EMPTY_EXPORT = ['-H', 'content-type: application/json', '-d', '{}'] as const

/** A command that asks the server as it was asked here. */
export function curl(
  target: Target,
  port: number,
  path: string,
  more: readonly string[] = [],
): string {
  const { ca, host, isRedirected } = target
  const line = commandLine('curl', [
    '-i',
    ...(ca === undefined ? [] : ['--cacert', ca]),
    ...(isRedirected ? ['--resolve', `${host}:${port}:${mainAddress(target)}`] : []),
    ...more,
    `https://${authority(host, port)}${path}`,
  ])
  // A shell reads the variable in double quotes alone.
  return line.replace("'authorization: Bearer $TOKEN'", '"authorization: Bearer $TOKEN"')
}
