/**
 * A gRPC proxy on @grpc/grpc-js at both ends. Messages are passed on as bytes: serializers that do
 * nothing, as its README shows for generic handlers. It decompresses what it receives.
 */
import { readFileSync } from 'node:fs'
import {
  type ChannelOptions,
  Client,
  credentials,
  Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js'
import { Admission, programSetting } from './admission.ts'

const { port, collectorPort, certPath, keyPath, tokens } = programSetting()
const admission = new Admission(tokens)

const PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const UNLIMITED = -1
const identity = (bytes: Buffer): Buffer => bytes

const options: ChannelOptions = {
  'grpc.max_receive_message_length': UNLIMITED,
  'grpc.max_send_message_length': UNLIMITED,
  'grpc.max_concurrent_streams': 1000,
}
const collector = new Client(`127.0.0.1:${collectorPort}`, credentials.createInsecure(), options)

const method: MethodDefinition<Buffer, Buffer> = {
  path: PATH,
  requestStream: false,
  responseStream: false,
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity,
}

function serve(call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>): void {
  const peer = call.getPeer()
  const [authorization] = call.metadata.get('authorization')
  if (!admission.count(peer.slice(0, peer.lastIndexOf(':')))) {
    answer({ code: status.RESOURCE_EXHAUSTED, details: 'too many requests' })
  } else if (!admission.isKnown(authorization?.toString())) {
    answer({ code: status.UNAUTHENTICATED, details: 'unauthenticated' })
  } else {
    const deadline = call.getDeadline()
    collector.makeUnaryRequest(
      PATH,
      identity,
      identity,
      call.request,
      new Metadata(),
      { deadline },
      (error, message) => answer(error, message),
    )
  }
}

const server = new Server(options)
server.addService({ export: method }, { export: serve })
const tls = ServerCredentials.createSsl(null, [
  { cert_chain: readFileSync(certPath), private_key: readFileSync(keyPath) },
])
server.bindAsync(`127.0.0.1:${port}`, tls, (error) => {
  if (error !== null) throw error
})
