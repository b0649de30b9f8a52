/**
 * The certificates of `tollgate cert dev` before real clients that show client certificates: each
 * takes the server, and each but Java, which does not look at the limits of a CA that it trusts,
 * refuses one that the CA signed for a name it is not limited to.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { type DevelopmentSet, makeDevelopmentSet } from '../../src/tls/development-set.ts'
import { type Issued, issueServer } from '../../src/tls/issue.ts'
import { TLS_SETTINGS } from '../../src/tls/settings.ts'
import { runToEnd } from '../support/child.ts'
import { hasTools, ROOT, tool } from '../support/tools.ts'

const folder = mkdtempSync(join(tmpdir(), 'tollgate-dev-certificates-'))
const at = (file: string) => join(folder, file)
let made: DevelopmentSet
const ports = { good: 0, outside: 0 }
const closing: (() => void)[] = []

const PYTHON = `
import http.client, ssl, sys
ca, cert, key, port = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.verify_flags |= ssl.VERIFY_X509_STRICT
context.load_cert_chain(cert, key)
connection = http.client.HTTPSConnection("localhost", int(port), context=context)
connection.request("GET", "/")
print(connection.getresponse().read().decode())
`
const GO = `package main
import ("crypto/tls"; "crypto/x509"; "fmt"; "io"; "log"; "net/http"; "os")
func main() {
	pem, _ := os.ReadFile(os.Args[1])
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	pair, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
	if err != nil { log.Fatal(err) }
	config := &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	answer, err := client.Get("https://localhost:" + os.Args[4] + "/")
	if err != nil { log.Fatal(err) }
	body, _ := io.ReadAll(answer.Body)
	fmt.Println(string(body))
}
`
const JAVA = `
public class Client {
  public static void main(String[] args) throws Exception {
    try (var in = new java.net.URL("https://localhost:" + args[0] + "/").openStream()) {
      System.out.println(new String(in.readAllBytes()));
    }
  }
}
`
const NODE = `
const { readFileSync: read } = require('node:fs')
const [ca, cert, key, port] = process.argv.slice(1)
require('node:https').get({ host: 'localhost', port, ca: read(ca), cert: read(cert), key: read(key) },
  (answer) => answer.pipe(process.stdout))
`

before(async () => {
  const names = ['localhost', 'otlp.example.test', '127.0.0.1', '::1']
  made = await makeDevelopmentSet({
    directory: folder,
    serverNames: names,
    clientNames: ['agent-1'],
    wallMs: Date.now(),
  })
  const read = ({ certPath, keyPath }: DevelopmentSet['ca']): Issued => ({
    cert: readFileSync(certPath, 'utf8'),
    key: readFileSync(keyPath, 'utf8'),
  })
  const outside = await issueServer(read(made.ca), [...names, 'example.org'], Date.now())
  writeFileSync(at('outside.pem'), outside.cert)
  const ca = readFileSync(at('clients-ca.pem'))
  for (const [name, pair] of [
    ['good', read(made.server)],
    ['outside', outside],
  ] as const) {
    const options = {
      ...TLS_SETTINGS,
      ...pair,
      ca,
      requestCert: true,
      rejectUnauthorized: true,
      ALPNProtocols: ['http/1.1'],
    }
    const server = createServer(options, (request, response) => {
      const socket = request.socket as TLSSocket
      response.end(`hello ${socket.getPeerCertificate().subject.CN}`)
    })
    server.on('tlsClientError', () => {})
    server.listen(0)
    await once(server, 'listening')
    ports[name] = (server.address() as AddressInfo).port
    closing.push(() => server.close())
  }
})
after(() => {
  for (const close of closing) close()
  rmSync(folder, { recursive: true })
})

/** The program, what it needs, and its arguments for a port. */
const CLIENTS: Readonly<Record<string, () => Promise<(port: number) => readonly string[]>>> = {
  curl: async () => (port) => [
    ...['-sS', '--cacert', at('ca.pem'), '--cert', at('client-agent-1.pem')],
    ...['--key', at('client-agent-1.key'), `https://localhost:${port}/`],
  ],
  python3: async () => (port) => ['-c', PYTHON, ...files(), `${port}`],
  node: async () => (port) => ['-e', NODE, ...files(), `${port}`],
  go: async () => {
    writeFileSync(at('main.go'), GO)
    return (port) => ['run', at('main.go'), ...files(), `${port}`]
  },
  java: async () => {
    writeFileSync(at('Client.java'), JAVA)
    const password = 'changeit'
    await run('keytool', [
      ...['-importcert', '-noprompt', '-alias', 'ca', '-file', at('ca.pem')],
      ...['-keystore', at('trust.p12'), '-storetype', 'PKCS12', '-storepass', password],
    ])
    await run('openssl', [
      ...['pkcs12', '-export', '-in', at('client-agent-1.pem'), '-inkey', at('client-agent-1.key')],
      ...['-out', at('client.p12'), '-passout', `pass:${password}`],
    ])
    const store = (name: string, file: string) => [
      `-Djavax.net.ssl.${name}=${at(file)}`,
      `-Djavax.net.ssl.${name}Password=${password}`,
    ]
    return (port) => [
      ...store('trustStore', 'trust.p12'),
      ...store('keyStore', 'client.p12'),
      at('Client.java'),
      `${port}`,
    ]
  },
}

function files(): readonly string[] {
  return ['ca.pem', 'client-agent-1.pem', 'client-agent-1.key'].map(at)
}

async function run(program: string, args: readonly string[]): Promise<void> {
  const { code, stderr, stdout } = await runToEnd(tool(program), args)
  assert.equal(code, 0, stdout + stderr)
}

suite('the certificates of tollgate cert dev', () => {
  for (const [name, prepare] of Object.entries(CLIENTS)) {
    test(`${name} takes them${name === 'java' ? '' : ', and nothing outside the names of the CA'}`, async (t) => {
      const needed = name === 'java' ? ['java', 'keytool', 'openssl'] : [name]
      if (!hasTools(t, ...needed)) return
      const argsFor = await prepare()
      const good = await runToEnd(tool(name), argsFor(ports.good), { timeoutMs: 120_000 })
      assert.equal(good.stdout.trim(), 'hello agent-1', good.stderr)
      if (name === 'java') return
      const outside = await runToEnd(tool(name), argsFor(ports.outside), { timeoutMs: 120_000 })
      assert.notEqual(outside.code, 0)
      assert.match(outside.stderr, /permitted|constraint/i)
    })
  }

  test('openssl verify -x509_strict takes server and client', async (t) => {
    if (!hasTools(t, 'openssl')) return
    const verify = (purpose: string, ca: string, file: string) =>
      runToEnd(tool('openssl'), [
        'verify',
        '-x509_strict',
        '-purpose',
        purpose,
        '-CAfile',
        at(ca),
        at(file),
      ])
    const server = await verify('sslserver', 'ca.pem', 'server.pem')
    assert.equal(server.code, 0, server.stderr)
    const client = await verify('sslclient', 'clients-ca.pem', 'client-agent-1.pem')
    assert.equal(client.code, 0, client.stderr)
    assert.match((await verify('sslserver', 'ca.pem', 'outside.pem')).stderr, /permitted subtree/)
    assert.notEqual((await verify('sslserver', 'clients-ca.pem', 'client-agent-1.pem')).code, 0)
  })

  test('the commands for openssl in certs/README.md make what openssl verifies strictly', async (t) => {
    if (!hasTools(t, 'openssl', 'sh')) return
    const page = readFileSync(join(ROOT, 'certs/README.md'), 'utf8')
    const [, block = ''] = /### A private CA with openssl\n+```sh\n([\s\S]*?)```/.exec(page) ?? []
    assert.match(block, /openssl x509 -req/)
    const cwd = mkdtempSync(at('readme-'))
    const { code, stderr } = await runToEnd(tool('sh'), ['-ec', block], { cwd })
    assert.equal(code, 0, stderr)
    const files = ['-CAfile', join(cwd, 'ca.pem'), join(cwd, 'server.pem')]
    const args = ['verify', '-x509_strict', '-purpose', 'sslserver', ...files]
    const verified = await runToEnd(tool('openssl'), args)
    assert.equal(verified.code, 0, verified.stderr)
  })
})
