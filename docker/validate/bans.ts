/** Reading what `tollgate bans list` answers, wherever it runs. */

/** The addresses in the JSON of `tollgate bans list --json`. */
export function bansIn(json: string): readonly string[] {
  return (JSON.parse(json) as readonly { readonly address: string }[]).map(({ address }) => address)
}
