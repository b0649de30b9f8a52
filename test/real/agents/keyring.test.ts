/**
 * A token in a real GNOME keyring: Python's provider asks for it again in time and when refused, and
 * `tollgate headers` prints the same one.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { runToEnd } from '../../support/child.ts'
import { runTollgate } from '../../support/run-command.ts'
import { hasTools, ROOT, tool } from '../../support/tools.ts'
import { BUS_TOOLS, startBus } from './bus.ts'

const PLACE = 'my-agent/otel-bearer-token'

const ASKED = `
import keyring, os, time
import otlp_token
os.environ["OTLP_TOKEN_SECONDS"] = "1000000000"
place = os.environ["OTLP_TOKEN_KEYRING"].split("/")
keyring.set_password(*place, "old-token-0123456789")
asked = [otlp_token.token()]
keyring.set_password(*place, "new-token-0123456789")
asked += [otlp_token.token(), otlp_token.token(refused="old-token-0123456789")]
keyring.set_password(*place, "last-token-0123456789")
os.environ["OTLP_TOKEN_SECONDS"] = "0.001"
time.sleep(0.01)
asked += [otlp_token.token()]
keyring.delete_password(*place)
time.sleep(0.01)
asked += [otlp_token.token()]
keyring.set_password(*place, "new-token-0123456789")
print(*asked, sep="\\n")
`

test('a token in the keyring is asked for again in time and when it was refused', async (t) => {
  if (!hasTools(t, 'python-sender', ...BUS_TOOLS)) return
  await using bus = await startBus()
  const asked = await runToEnd(tool('python-sender'), ['-c', ASKED], {
    env: {
      PATH: process.env.PATH,
      ...bus.env,
      PYTHONPATH: join(ROOT, 'test/real/agents/python'),
      PYTHONDONTWRITEBYTECODE: '1',
      OTLP_TOKEN_KEYRING: PLACE,
    },
  })
  assert.equal(asked.code, 0, asked.stderr)
  assert.deepEqual(asked.stdout.split('\n'), [
    'old-token-0123456789',
    'old-token-0123456789',
    'new-token-0123456789',
    'last-token-0123456789',
    'last-token-0123456789',
  ])
  const { code, stdout, stderr } = await runTollgate(['headers'], {
    ...bus.env,
    TOLLGATE_HEADERS_FROM: `keyring:${PLACE}`,
  })
  assert.deepEqual(
    { code, stdout, stderr },
    { code: 0, stdout: '{"Authorization":"Bearer new-token-0123456789"}', stderr: '' },
  )
})
