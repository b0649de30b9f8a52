/** Where the SDK of AWS finds what it needs, in the tests. */
import type { TestContext } from 'node:test'

/** Points the SDK to a server of this protocol, until the test ends. */
export function useAws(t: Pick<TestContext, 'after'>, address: string): void {
  const settings = {
    AWS_ENDPOINT_URL_SECRETS_MANAGER: `http://${address}`,
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'AKIAIOSFODNN7EXAMPLE',
    AWS_SECRET_ACCESS_KEY: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_MAX_ATTEMPTS: '1',
  }
  const before = Object.keys(settings).map((name) => [name, process.env[name]] as const)
  Object.assign(process.env, settings)
  t.after(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  })
}
