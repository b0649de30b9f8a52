/** What is known of the tokens: from the running gateway, or else from the files it left. */
import { join } from 'node:path'
import { readTextFile } from '../secrets/file-edit.ts'
import { parseLedger } from '../stores/ledger-file.ts'
import { rowOf, type TokenPage } from '../stores/token-page.ts'
import { parseTokenSet } from '../stores/token-set.ts'
import { TokenStore } from '../stores/tokens.ts'
import { askGateway, NoAnswerError } from './ask-gateway.ts'
import { noFile } from './token-document.ts'

export interface TokenView {
  readonly page: TokenPage
  /** What stands in the way of the whole truth, a sentence for stderr. */
  readonly problem: string | undefined
}

/** The page of the gateway that uses this state directory. @throws {NoAnswerError} */
export async function askTokens(stateDir: string): Promise<TokenPage> {
  return (await askGateway(stateDir, 'GET', '/tokens')) as unknown as TokenPage
}

/** The tokens in force at the running gateway, or those of the file where none runs: only then is it asked for. */
export async function viewTokens(fileOf: () => string, stateDir: string): Promise<TokenView> {
  try {
    return { page: await askTokens(stateDir), problem: undefined }
  } catch (error) {
    if (!(error instanceof NoAnswerError)) throw error
    const view = await viewFile(fileOf(), stateDir)
    const problem = error.isNobodyThere ? view.problem : error.message
    return { ...view, problem }
  }
}

/**
 * The tokens of a file, with what the ledger in the state directory knows of them.
 *
 * @throws {FileFault} and {TokenSetError} where the token file cannot be used.
 */
export async function viewFile(file: string, stateDir: string): Promise<TokenView> {
  const text = await readTextFile(file)
  if (text === undefined) throw noFile(file)
  const store = new TokenStore({
    defaultLimits: { requests: undefined, bytes: undefined, inFlight: undefined },
  })
  store.swap(parseTokenSet(text, file))
  let problem: string | undefined
  const ledger = join(stateDir, 'ledger.json')
  try {
    const kept = await readTextFile(ledger)
    if (kept !== undefined) store.restore(parseLedger(kept))
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    problem = `${ledger}: cannot be read, so nothing is known of their use: ${why}`
  }
  const tokens = [...store.statuses(Date.now())].map(rowOf)
  const source = { place: `file:${file}`, isGood: true, problem: null, lastGoodAt: null }
  return { page: { sources: [source], tokens }, problem }
}
