// Starts the installed package with nothing configured but free ports, asks /readyz, and stops it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

const child = spawn(process.execPath, ['node_modules/.bin/tollgate'], {
  env: {
    ...process.env,
    TOLLGATE_GRPC_LISTEN: '127.0.0.1:0',
    TOLLGATE_HTTP_LISTEN: '127.0.0.1:0',
    TOLLGATE_ADMIN_LISTEN: '127.0.0.1:0',
    TOLLGATE_LOG_FORMAT: 'json',
  },
  stdio: ['ignore', 'pipe', 'pipe'],
})
const closed = once(child, 'close')
const limit = setTimeout(() => {
  console.error('not done after 60 s')
  child.kill('SIGKILL')
}, 60_000)
child.stdout.pipe(process.stdout)

let admin
for await (const line of createInterface({ input: child.stderr })) {
  console.log(line)
  const fields = line.startsWith('{') ? JSON.parse(line) : {}
  if (fields.event !== 'listening') continue
  admin = fields.admin
  break
}
child.stderr.resume()
if (admin === undefined) throw new Error('it did not say where it listens')

let ready
do {
  await sleep(50)
  ready = await fetch(`http://${admin}/readyz`)
  console.log(`/readyz: ${ready.status} ${(await ready.text()).trim()}`)
} while (ready.status !== 200 && child.exitCode === null)
child.kill('SIGTERM')
const [code, signal] = await closed
clearTimeout(limit)
console.log(`stopped: ${code ?? signal}`)
process.exitCode = ready.status === 200 && code === 0 ? 0 : 1
