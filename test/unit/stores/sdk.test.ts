import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { sdkOf } from '../../../src/stores/sdk.ts'

describe('the SDK of a User-Agent', () => {
  const cases: readonly (readonly [string, string | undefined])[] = [
    ['OTel-OTLP-Exporter-Python/1.45.0', 'Python 1.45.0'],
    ['OTel-OTLP-Exporter-Python/1.45.0 grpc-python/1.66.1 grpc-c/43.0.0', 'Python 1.45.0'],
    ['OTel OTLP Exporter Java/1.66', 'Java 1.66'],
    ['OTel-OTLP-Exporter-JavaScript/0.301.0 grpc-node-js/1.14.7', 'JavaScript 0.301.0'],
    ['OTel OTLP Exporter Go/1.31.0 grpc-go/1.64.0', 'Go 1.31.0'],
    ['OTel Go OTLP over gRPC exporter/1.44.0 grpc-go/1.70', 'Go 1.44.0'],
    ['OTel Go OTLP over HTTP/protobuf metrics exporter/v1.44.0', 'Go 1.44.0'],
    ['acme-distro/2.0 OTel-OTLP-Exporter-Python/1.45.0', 'Python 1.45.0'],
    ['OTel-OTLP-Exporter-.NET/1.9.0', '.NET 1.9.0'],
    [
      'OpenTelemetry Collector Contrib/0.120.0 (linux/amd64)',
      'OpenTelemetry Collector Contrib 0.120.0',
    ],
    ['curl/8.5.0', 'curl 8.5.0'],
    ['Mozilla', undefined],
    ['', undefined],
    ['/1.0', undefined],
  ]
  for (const [userAgent, expected] of cases)
    it(`${userAgent || 'empty'}: ${expected ?? 'none'}`, () => {
      const sdk = sdkOf(userAgent)
      assert.equal(sdk && `${sdk.name} ${sdk.version}`, expected)
    })

  it('is found in no time in the worst of texts', () => {
    for (const part of ['OTel ', 'a OTLP over ', 'exporter', 'x.', ' '])
      assert.equal(sdkOf(part.repeat(40).slice(0, 200)), undefined)
  })
})
