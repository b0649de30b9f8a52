/**
 * Makes gRPC calls with grpc-js as told: one JSON command a line on standard input, one JSON answer
 * a line on standard output. The commands are described in ../driver.ts.
 */
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import {
  type ChannelOptions,
  Client,
  type ClientUnaryCall,
  compressionAlgorithms,
  credentials,
  Metadata,
  type StatusObject,
} from '@grpc/grpc-js'
import type { CallCommand, Command, ConnectCommand, ManyCommand, Reply } from '../driver.ts'

/** Compression is a matter of the whole channel here: each connection has two of them, made when needed. */
const connections = new Map<string, (isGzip: boolean) => Client>()
const calls = new Map<number, ClientUnaryCall>()
const bytes = (message: Buffer) => message

function connect({ name, target, ca, keepaliveMs }: ConnectCommand): void {
  const options: ChannelOptions = {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
    ...(keepaliveMs === 0
      ? {}
      : {
          'grpc.keepalive_time_ms': keepaliveMs,
          'grpc.keepalive_timeout_ms': 5000,
          'grpc.keepalive_permit_without_calls': 1,
        }),
  }
  const secure = ca === '' ? credentials.createInsecure() : credentials.createSsl(readFileSync(ca))
  const gzip = { 'grpc.default_compression_algorithm': compressionAlgorithms.gzip }
  const clients = new Map<boolean, Client>()
  connections.set(name, (isGzip) => {
    let client = clients.get(isGzip)
    if (client === undefined) {
      client = new Client(target, secure, isGzip ? { ...options, ...gzip } : options)
      clients.set(isGzip, client)
    }
    return client
  })
}

function sent({ metadata, waits }: CallCommand): Metadata {
  const fields = new Metadata({ waitForReady: waits })
  for (const [name, value] of metadata)
    fields.add(name, name.endsWith('-bin') ? Buffer.from(value, 'base64') : value)
  return fields
}

function received(metadata: Metadata | undefined): [string, string][] {
  const fields: [string, string][] = []
  for (const name of Object.keys(metadata?.getMap() ?? {}).sort())
    for (const value of metadata?.get(name) ?? [])
      fields.push([name, typeof value === 'string' ? value : value.toString('base64')])
  return fields
}

interface Done {
  readonly status: StatusObject
  readonly headers: Metadata | undefined
  readonly body: Buffer | undefined
}

function call(command: CallCommand, message: Buffer): Promise<Done> {
  const { name, path, gzip, timeoutMs } = command
  const client = connections.get(name)?.(gzip)
  if (client === undefined) throw new Error(`no connection ${name}`)
  return new Promise((resolve) => {
    let headers: Metadata | undefined
    let body: Buffer | undefined
    const deadline = timeoutMs > 0 ? { deadline: Date.now() + timeoutMs } : {}
    const started = client.makeUnaryRequest(
      ...([path, bytes, bytes, message, sent(command), deadline] as const),
      (_error, answer?: Buffer) => {
        body = answer
      },
    )
    calls.set(command.id, started)
    started.on('metadata', (metadata: Metadata) => {
      headers = metadata
    })
    // Behind the callback.
    started.on('status', (status: StatusObject) =>
      setImmediate(() => resolve({ status, headers, body })),
    )
  })
}

async function one(command: CallCommand, message: Buffer): Promise<void> {
  const { status, headers, body } = await call(command, message)
  say({
    id: command.id,
    code: status.code,
    message: status.details,
    body: status.code === 0 ? (body?.toString('base64') ?? null) : null,
    headers: received(headers),
    trailers: received(status.metadata),
  })
}

async function many(command: ManyCommand, message: Buffer): Promise<void> {
  const codes: Record<string, number> = {}
  let firstError = ''
  let next = 0
  const work = async () => {
    while (next < command.count) {
      const number = Buffer.alloc(4)
      number.writeUInt32BE(next)
      next += 1
      const { status } = await call(command, Buffer.concat([number, message]))
      codes[status.code] = (codes[status.code] ?? 0) + 1
      if (status.code !== 0) firstError ||= status.details
    }
  }
  await Promise.all(Array.from({ length: command.parallel }, work))
  say({ id: command.id, codes, firstError })
}

function say(reply: Reply): void {
  process.stdout.write(`${JSON.stringify(reply)}\n`)
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line) as Command
  if (command.op === 'connect') {
    connect(command)
    say({ id: command.id })
  } else if (command.op === 'cancel') calls.get(command.call)?.cancel()
  else if (command.op === 'many') void many(command, readFileSync(command.file))
  else void one(command, readFileSync(command.file))
}
process.exit(0)
