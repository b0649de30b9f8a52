import { request } from 'node:http'
import type { ListenAddress } from '../config/addresses.ts'
import { parseConfig } from '../config/config.ts'
import type { CommandIo } from './io.ts'

/** A gateway that does not answer in this time is not well. */
const ANSWER_MS = 3000
const MAX_ANSWER_BYTES = 64 * 1024
const ANY_ADDRESS: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' }

/** What /readyz says. */
interface Readiness {
  readonly status?: string
  readonly conditions?: readonly { readonly ok?: boolean; readonly words?: string }[]
}

/**
 * `tollgate healthcheck`: asks the gateway that runs with the same configuration whether it is ready,
 * for images without curl. Resolves with 0 or 1, and says why not.
 */
export async function runHealthcheck(argv: readonly string[], io: CommandIo): Promise<number> {
  const { adminListen } = parseConfig(io.env, argv, { cwd: process.cwd() })
  if (adminListen === undefined || adminListen.port === 0) {
    io.stderr.write(
      `not healthy: cannot ask, TOLLGATE_ADMIN_LISTEN is ${adminListen === undefined ? 'off' : 'port 0, any free one'}\n`,
    )
    return 1
  }
  try {
    const { status, text } = await ask(adminListen)
    if (status === 200) {
      io.stdout.write('ready\n')
      return 0
    }
    io.stderr.write(`not ready: ${reasonsIn(text) ?? `the admin port answered ${status}`}\n`)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const why = code === 'ECONNREFUSED' ? 'no gateway listens there' : (code ?? message)
    const { host, port } = adminListen
    io.stderr.write(`not healthy: the admin port (${host}, port ${port}) does not answer: ${why}\n`)
  }
  return 1
}

function ask({ host, port }: ListenAddress): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const options = {
      host: ANY_ADDRESS[host] ?? host,
      port,
      path: '/readyz',
      agent: false,
      signal: AbortSignal.timeout(ANSWER_MS),
    }
    const asking = request(options, (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (chunk: string) => {
        text += chunk
        if (text.length > MAX_ANSWER_BYTES) answer.destroy(new Error('its answer does not end'))
      })
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }))
      answer.on('error', reject)
    })
    asking.on('error', (error) => {
      reject(error.name === 'AbortError' ? new Error(`nothing within ${ANSWER_MS} ms`) : error)
    })
    asking.end()
  })
}

/** What is amiss, in the gateway's own words. */
function reasonsIn(text: string): string | undefined {
  try {
    const { conditions = [] } = JSON.parse(text) as Readiness
    const words = conditions.filter(({ ok }) => ok === false).map(({ words = '' }) => words)
    return words.length === 0 ? undefined : words.join('; ')
  } catch {
    return undefined
  }
}
