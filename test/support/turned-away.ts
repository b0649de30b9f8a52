/** Connections that are ended at the door. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'

/** Connects without a word and asserts that the other side ends it, by a reset and without a byte. */
export async function assertTurnedAway(address: string, localAddress?: string): Promise<void> {
  const { hostname, port } = new URL(`http://${address}`)
  const code = await new Promise<string>((resolve, reject) => {
    const socket = connect({
      host: hostname,
      port: Number(port),
      ...(localAddress === undefined ? {} : { localAddress }),
    })
    const patience = setTimeout(() => {
      socket.destroy()
      reject(new Error('the connection was kept'))
    }, 5000)
    socket.on('data', (bytes) => reject(new Error(`it was told ${bytes.length} bytes`)))
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    socket.on('close', () => {
      clearTimeout(patience)
      resolve('closed')
    })
  })
  assert.equal(code, 'ECONNRESET')
}
