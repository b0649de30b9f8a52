/** Reading what Prometheus and `tollgate bans list` answer, wherever they run. */
import type { Sample } from './target.ts'

/** An instant query over HTTP. Throws where it fails. */
export async function queryOver(url: string, expr: string): Promise<readonly Sample[]> {
  const answer = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(expr)}`, {
    signal: AbortSignal.timeout(10_000),
  })
  const text = await answer.text()
  if (answer.status !== 200) throw new Error(`Prometheus answers ${answer.status}: ${text}`)
  const { data } = JSON.parse(text) as { readonly data: { readonly result: readonly Sample[] } }
  return data.result
}

/** The addresses in the JSON of `tollgate bans list --json`. */
export function bansIn(json: string): readonly string[] {
  return (JSON.parse(json) as readonly { readonly address: string }[]).map(({ address }) => address)
}
