/**
 * A token in a real GNOME keyring: Python's provider asks for it again in time and when refused, and
 * `tollgate headers` prints the same one.
 */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { runToEnd } from '../../support/child.ts'
import { hasTools, ROOT, tool } from '../../support/tools.ts'

/** Debian's, which has the keyring package from Debian. */
const PYTHON = '/usr/bin/python3'

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
  if (!hasTools(t, 'gnome-keyring-daemon', 'secret-tool', 'dbus-run-session')) return
  const { code } = await runToEnd(PYTHON, ['-c', 'import keyring, secretstorage'])
  if (code !== 0) {
    if (process.env.CI === 'true') assert.fail('python3-keyring not installed: run .ci/tools')
    t.skip('SKIP: python3-keyring not installed: run .ci/tools')
    return
  }
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-keyring-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  for (const name of ['home', 'run', 'data']) await mkdir(join(folder, name), { mode: 0o700 })
  const unlock = 'printf pw | gnome-keyring-daemon --unlock --components=secrets >/dev/null'
  const headers = '"$NODE" --disable-warning=ExperimentalWarning src/main.ts headers'
  const ended = await runToEnd(
    tool('dbus-run-session'),
    ['--', 'sh', '-ec', `${unlock}; ${PYTHON} -c "$ASKED"; ${headers}`],
    {
      cwd: ROOT,
      env: {
        PATH: process.env.PATH,
        HOME: join(folder, 'home'),
        XDG_RUNTIME_DIR: join(folder, 'run'),
        XDG_DATA_HOME: join(folder, 'data'),
        PYTHONPATH: join(ROOT, 'test/real/agents/python'),
        PYTHONDONTWRITEBYTECODE: '1',
        OTLP_TOKEN_KEYRING: 'my-agent/otel-bearer-token',
        TOLLGATE_HEADERS_FROM: 'keyring:my-agent/otel-bearer-token',
        ASKED,
        NODE: process.execPath,
      },
    },
  )
  assert.equal(ended.code, 0, ended.stderr)
  assert.deepEqual(ended.stdout.split('\n'), [
    'old-token-0123456789',
    'old-token-0123456789',
    'new-token-0123456789',
    'last-token-0123456789',
    'last-token-0123456789',
    '{"Authorization":"Bearer new-token-0123456789"}',
  ])
})
