/** A TLS server that does nothing but send back what it gets: what a connection takes in Node itself. */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:tls'
import { programSetting } from './admission.ts'

const { port, certPath, keyPath } = programSetting()

const server = createServer(
  {
    cert: readFileSync(certPath),
    key: readFileSync(keyPath),
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['h2', 'http/1.1'],
  },
  (socket) => {
    socket.on('error', () => socket.destroy())
    socket.on('data', (bytes) => socket.write(bytes))
  },
)
server.listen(port, '127.0.0.1', 1024)
