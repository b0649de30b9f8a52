/** Tokens on their way to services that Dokploy runs; see test/support/dokploy.ts for what stands in. */
import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import type { Delivery } from '../../src/secrets/delivery.ts'
import type { DokploySettings } from '../../src/secrets/dokploy/exchange.ts'
import { openDelivery } from '../../src/secrets/open-delivery.ts'
import { parsePlace } from '../../src/secrets/place.ts'
import { FakeDokploy } from '../support/dokploy.ts'

const KEY = 'dokploy-api-key-0123456789'
const TOKEN = 'tg_k7_abcdefghijklmnop'
const NEW = { id: 'k7', holder: 'shop', token: TOKEN }
const ENV = [
  '# the shop',
  'DATABASE_URL="postgres://shop:p4ssw0rd@db/shop" # private',
  `REGION=\${{project.REGION}}`,
  'TOKEN=tg_k6_old-old-old-old',
  "PEM='-----BEGIN\nTOKEN=inside\n-----END'",
  'LAST=1',
].join('\r\n')
const NEW_ENV = ENV.replace('tg_k6_old-old-old-old', TOKEN)

let dokploy: FakeDokploy
const open: Delivery[] = []

beforeEach(async () => {
  dokploy = await FakeDokploy.start()
  dokploy.addKey(KEY)
})

afterEach(async () => {
  for (const delivery of open.splice(0)) await delivery.close()
  await dokploy.stop()
})

async function deliveryTo(text: string, settings: Partial<DokploySettings> = {}) {
  const place = parsePlace(text)
  assert.ok(place)
  const own = { url: dokploy.url, apiKey: KEY, pollMs: 2, ...settings }
  const delivery = await openDelivery(place, { timeoutMs: 10_000, dokploy: own })
  open.push(delivery)
  return delivery
}

const APP = 'dokploy:application/app1#TOKEN'
const COMPOSE = 'dokploy:compose/com1#TOKEN'
const fault = (message: RegExp, isTemporary = false) => ({
  name: 'SourceFault',
  message,
  isTemporary,
})

describe('dokploy:application', () => {
  it('changes one variable, echoes all else, reloads, and sees the new task run', async () => {
    const app = dokploy.addService('application', 'app1', ENV)
    const delivery = await deliveryTo(APP)
    assert.equal(
      await delivery.check(),
      'would replace TOKEN in the environment of application shop-app1 and reload it',
    )
    assert.deepEqual([app.fields.env, app.tasks.length], [ENV, 1])
    assert.equal(
      await delivery.deliver(NEW),
      'wrote TOKEN in the environment of application shop-app1 and reloaded it; the new task runs',
    )
    const { env, buildArgs, buildSecrets, createEnvFile } = app.fields
    assert.deepEqual(
      [env, buildArgs, buildSecrets, createEnvFile],
      [NEW_ENV, 'NPM_TOKEN=build-arg-secret', null, true],
    )
    assert.equal(app.tasks[0]?.env.TOKEN, TOKEN)
    assert.equal(dokploy.calls.filter((call) => call.includes('deploy')).length, 0)
  })

  it('delivers again as well as once, and does not write then', async () => {
    const app = dokploy.addService('application', 'app1', ENV)
    const delivery = await deliveryTo(APP)
    await delivery.deliver(NEW)
    dokploy.calls.length = 0
    assert.match(await delivery.deliver(NEW), /^had it already .* reloaded it; the new task runs$/)
    assert.ok(!dokploy.calls.includes('POST application.saveEnvironment'))
    assert.equal(app.fields.env, NEW_ENV)
  })

  it('redeploys and deploys when asked, and waits for the end', async () => {
    for (const how of ['redeploy', 'deploy']) {
      const app = dokploy.addService('application', 'app1', ENV)
      app.deployments.push({ deploymentId: 'other', title: 'x', status: 'error' })
      const delivery = await deliveryTo(`dokploy:application/app1?how=${how}#TOKEN`)
      assert.match(await delivery.deliver(NEW), new RegExp(`and ${how}ed it; the new task runs$`))
      assert.ok(dokploy.calls.includes(`POST application.${how}`))
      assert.equal(app.tasks[0]?.env.TOKEN, TOKEN)
      assert.equal(app.deployments.at(-1)?.title, 'Tollgate: token k7 for shop')
    }
  })

  it('tells of a deployment that fails, and of one that does not end', async () => {
    const app = dokploy.addService('application', 'app1', ENV)
    const text = 'dokploy:application/app1?how=redeploy#TOKEN'
    app.outcome = 'error'
    await assert.rejects(
      (await deliveryTo(text)).deliver(NEW),
      fault(
        /the token is written, but not seen in force: the deployment ended with error; its log/,
      ),
    )
    app.outcome = 'stuck'
    await assert.rejects(
      (await deliveryTo(text, { deployTimeoutMs: 100 })).deliver(NEW),
      fault(/the deployment is still (?:queued|running) after 0.1 s; look at Deployments/, true),
    )
    app.queued = []
    app.outcome = 'done'
    assert.match(
      await (await deliveryTo(text)).deliver(NEW),
      /^had it already .*the new task runs$/,
    )
  })

  it('refuses before it writes where a host port and start-first keep the old task', async () => {
    const ports = [{ publishedPort: 4317, targetPort: 4317, publishMode: 'host' }]
    const app = dokploy.addService('application', 'app1', ENV, { ports })
    const delivery = await deliveryTo(APP)
    const expected = fault(
      /port 4317 in host mode and is updated start-first: .*Update Config \{"Parallelism":1,"Order":"stop-first","FailureAction":"rollback"\}, or POST application.update \{"applicationId":"app1",/,
    )
    await assert.rejects(delivery.check(), expected)
    await assert.rejects(delivery.deliver(NEW), expected)
    assert.equal(app.fields.env, ENV)
    app.fields.updateConfigSwarm = { Parallelism: 1, Order: 'stop-first' }
    assert.match(await delivery.deliver(NEW), /the new task runs$/)
  })

  it('tells when Dokploy says done and the new task only waits', async () => {
    const app = dokploy.addService('application', 'app1', ENV)
    // What the settings do not show: somebody else publishes the port, say.
    dokploy.before('application.reload', () => {
      app.fields.ports = [{ publishedPort: 4317, publishMode: 'host' }]
    })
    await assert.rejects(
      (await deliveryTo(APP, { deployTimeoutMs: 100 })).deliver(NEW),
      fault(
        /not seen in force: Dokploy says done, but no new task runs after 0.1 s \(no suitable node \(host-mode port already in use on 1 node\)\): the old one goes on/,
        true,
      ),
    )
  })

  it('does not take a task for good that is seen running once', async () => {
    const app = dokploy.addService('application', 'app1', ENV)
    const looks = 'docker.getServiceContainersByAppName'
    dokploy.before(looks, () => undefined)
    dokploy.before(looks, () => undefined)
    dokploy.before(looks, () => {
      const [task] = app.tasks
      assert.ok(task?.currentState?.startsWith('Running') === true)
      Object.assign(task, { state: 'shutdown', currentState: 'Failed 1 second ago' })
    })
    await assert.rejects((await deliveryTo(APP)).deliver(NEW), fault(/: the new task failed, and/))
  })

  it('tells when the new task dies and Swarm goes back', async () => {
    const app = dokploy.addService('application', 'app1', ENV)
    app.crashes = true
    await assert.rejects(
      (await deliveryTo(APP)).deliver(NEW),
      fault(
        /the new task failed \(task: non-zero exit \(1\)\), and Swarm goes back to the old one/,
      ),
    )
  })

  it('says what it cannot see', async () => {
    dokploy.addService('application', 'app1', ENV)
    const permissions = ['envVars:write', 'deployment:create']
    dokploy.addKey(KEY, { permissions })
    const delivery = await deliveryTo(APP)
    assert.match(await delivery.check(), /; the key lacks docker: read, so that nobody would see/)
    assert.match(await delivery.deliver(NEW), /was not seen, as the key lacks docker: read$/)
    dokploy.version = 26
    dokploy.addKey(KEY)
    const old = dokploy.addService('application', 'app1', ENV)
    const said = await delivery.deliver(NEW)
    assert.match(said, /this Dokploy does not tell whether the new task runs$/)
    assert.deepEqual([old.fields.env, 'createEnvFile' in old.fields], [NEW_ENV, false])
    // Nor does it keep the title of a deployment by which ours is known.
    const redeploy = await deliveryTo('dokploy:application/app1?how=redeploy#TOKEN')
    assert.match(await redeploy.deliver(NEW), /^had it already .* redeployed it; this Dokploy does/)
  })

  it('adds a variable, writes headers, and tells of doubles', async () => {
    const app = dokploy.addService('application', 'app1', 'A=1\nTOKEN=a\nTOKEN=b')
    assert.match(await (await deliveryTo(APP)).check(), /; 2 lines set it, and the last one counts/)
    await (await deliveryTo(APP)).deliver(NEW)
    assert.equal(app.fields.env, `A=1\nTOKEN=a\nTOKEN=${TOKEN}`)
    const headers = await deliveryTo('dokploy:application/app1#OTEL_EXPORTER_OTLP_HEADERS')
    assert.match(await headers.check(), /^would add OTEL_EXPORTER_OTLP_HEADERS/)
    await headers.deliver(NEW)
    const line = `OTEL_EXPORTER_OTLP_HEADERS=Authorization=Bearer%20${TOKEN}\n`
    assert.ok(String(app.fields.env).endsWith(`\n${line}`))
  })

  it('touches neither a reference nor an environment that is not shown', async () => {
    const app = dokploy.addService('application', 'app1', `TOKEN=\${{project.TOKEN}}`)
    await assert.rejects((await deliveryTo(APP)).check(), fault(/is a reference in double braces/))
    app.fields.env = ''
    await assert.rejects(
      (await deliveryTo(APP)).deliver(NEW),
      fault(/shows no environment of this service: it is empty, or the key may not read it/),
    )
    assert.ok(!dokploy.calls.some((call) => call.startsWith('POST')))
  })

  it('does not reload while a deployment with the old environment is under way', async () => {
    const app = dokploy.addService('application', 'app1', ENV, { applicationStatus: 'running' })
    const delivery = await deliveryTo(APP)
    assert.match(await delivery.check(), /; it is being deployed right now, which is waited for$/)
    dokploy.before('application.one', () => undefined)
    dokploy.before('application.one', () => undefined)
    dokploy.before('application.one', () => {
      assert.ok(!dokploy.calls.includes('POST application.reload'))
      app.fields.applicationStatus = 'done'
    })
    await delivery.deliver(NEW)
    assert.equal(app.tasks[0]?.env.TOKEN, TOKEN)
    app.fields.applicationStatus = 'running'
    await assert.rejects(
      (await deliveryTo(APP, { deployTimeoutMs: 20 })).deliver(NEW),
      fault(
        /another deployment is still running after 0.02 s, and would bring the old token back/,
        true,
      ),
    )
  })

  it('says that a stopped application would be started', async () => {
    dokploy.addService('application', 'app1', ENV, { applicationStatus: 'idle' })
    assert.match(await (await deliveryTo(APP)).check(), /; it is stopped, and would be started$/)
  })
})

describe('two writers at once', () => {
  it('keeps the change of one who wrote behind us, and tells', async () => {
    const app = dokploy.addService('application', 'app1', ENV)
    // One read to change it, one to compare.
    dokploy.before('application.one', () => undefined)
    dokploy.before('application.one', () => {
      app.fields.env = `${app.fields.env}\r\nTHEIRS=1`
    })
    const delivery = await deliveryTo(APP)
    assert.match(await delivery.deliver(NEW), /; somebody else changed the same text at the same/)
    assert.equal(app.fields.env, `${NEW_ENV}\r\nTHEIRS=1`)
  })

  it('writes again where the other one has overwritten the token', async () => {
    const app = dokploy.addService('application', 'app1', ENV)
    dokploy.before('application.one', () => undefined)
    dokploy.before('application.one', () => {
      app.fields.env = `${ENV}\r\nTHEIRS=1`
    })
    await (await deliveryTo(APP)).deliver(NEW)
    assert.equal(app.fields.env, `${NEW_ENV}\r\nTHEIRS=1`)
  })

  it('gives up on one who does it again and again', async () => {
    const app = dokploy.addService('application', 'app1', ENV)
    for (let time = 1; time <= 6; time += 1) {
      dokploy.before('application.one', () => {
        app.fields.env = ENV
      })
    }
    await assert.rejects(
      (await deliveryTo(APP)).deliver(NEW),
      fault(/somebody else has written the same text 3 times at the same moment/, true),
    )
  })
})

describe('dokploy:compose', () => {
  it('changes one variable, redeploys, and sees new containers', async () => {
    const service = dokploy.addService('compose', 'com1', ENV)
    const delivery = await deliveryTo(COMPOSE)
    assert.match(await delivery.check(), /environment of compose shop-com1 and redeploy it$/)
    assert.match(await delivery.deliver(NEW), /redeployed it; 1 of 1 containers are new$/)
    assert.equal(service.fields.env, NEW_ENV)
    assert.equal(service.tasks[0]?.env.TOKEN, TOKEN)
    assert.match(await delivery.deliver(NEW), /^had it .*; no container had to be made anew$/)
  })

  it('takes the older call where the newer one is missing', async () => {
    dokploy.version = 28
    const service = dokploy.addService('compose', 'com1', ENV)
    await (await deliveryTo(COMPOSE)).deliver(NEW)
    assert.equal(service.fields.env, NEW_ENV)
    assert.ok(dokploy.calls.includes('POST compose.update'))
  })

  it('refuses before it writes where no container would get the variable', async () => {
    const composeFile = 'services: {agent: {image: agent}}'
    const service = dokploy.addService('compose', 'com1', ENV, { composeFile })
    const expected = fault(/names neither TOKEN nor an env_file.*environment: \[TOKEN\]/)
    await assert.rejects((await deliveryTo(COMPOSE)).check(), expected)
    await assert.rejects((await deliveryTo(COMPOSE)).deliver(NEW), expected)
    assert.equal(service.fields.env, ENV)
    // From a repository the file is not to be seen: the containers tell.
    service.fields.sourceType = 'github'
    await assert.rejects(
      (await deliveryTo(COMPOSE)).deliver(NEW),
      fault(/Dokploy says done, but no container was made anew: none of them uses the variable/),
    )
  })

  it('cannot be reloaded', async () => {
    await assert.rejects(
      deliveryTo('dokploy:compose/com1?how=reload#TOKEN'),
      fault(/\?how=reload is no way to put it in force; write \?how= with redeploy or deploy/),
    )
  })
})

describe('dokploy:mount', () => {
  const mount = (content: string, type = 'file') => {
    const fields = { mountId: 'mnt1', type, content, mountPath: '/etc/agent/token' }
    const application = { appName: 'shop', env: 'SECRET=very-much-so' }
    dokploy.mounts.set('mnt1', { ...fields, application })
    return () => dokploy.mounts.get('mnt1')?.content
  }

  it('replaces the file in place, without starting anything anew', async () => {
    const content = mount('tg_k6_old-old-old-old\n')
    const delivery = await deliveryTo('dokploy:mount/mnt1')
    assert.match(
      await delivery.check(),
      /^would replace the content .* \/etc\/agent\/token in place/,
    )
    assert.match(await delivery.deliver(NEW), /^wrote the token in the mounted file \/etc\/agent/)
    assert.equal(content(), `${TOKEN}\n`)
    assert.deepEqual(
      dokploy.calls.filter((call) => call.startsWith('POST')),
      ['POST mounts.update'],
    )
    assert.match(await delivery.deliver(NEW), /^had it already/)
  })

  it('changes one variable of a mounted file', async () => {
    const content = mount(ENV)
    await (await deliveryTo('dokploy:mount/mnt1#TOKEN')).deliver(NEW)
    assert.equal(content(), NEW_ENV)
  })

  it('refuses what is no file, or holds more than a token', async () => {
    mount('', 'volume')
    const delivery = await deliveryTo('dokploy:mount/mnt1')
    await assert.rejects(delivery.check(), fault(/is of the type volume, and not a file; make/))
    mount(ENV)
    await assert.rejects(delivery.deliver(NEW), fault(/holds more than a token/))
    await assert.rejects((await deliveryTo('dokploy:mount/none')).check(), fault(/answered 404/))
  })
})

describe('what Dokploy refuses, in words', () => {
  const fails = async (message: RegExp, isTemporary = false, settings = {}) =>
    await assert.rejects(
      (await deliveryTo(APP, settings)).deliver(NEW),
      fault(message, isTemporary),
    )

  it('a key that is wrong or used up: the same 401', async () => {
    dokploy.addService('application', 'app1', ENV)
    const words =
      /application.one answered 401; either the key .* wrong or expired, or .* rate limit/
    await fails(words, false, { apiKey: 'wrong' })
    dokploy.addKey(KEY, { max: 10 })
    // Ten calls that count twice are five, and the token is written by then.
    await fails(/the token is written, but not seen in force: .* answered 401; either the key/)
    await fails(words)
  })

  it('permissions by name', async () => {
    dokploy.addService('application', 'app1', ENV)
    dokploy.addKey(KEY, { permissions: ['docker:read'] })
    await fails(
      /saveEnvironment answered 403 \(.*\); give the key's owner the permission envVars: write/,
    )
    dokploy.addKey(KEY, { permissions: ['docker:read', 'envVars:write'] })
    await fails(/reload answered 403 .* the permission deployment: create/)
    dokploy.addKey(KEY)
    dokploy.answerOnce('application.one', (response) => {
      response.writeHead(401, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ message: "You don't have access to this service" }))
    })
    await fails(/answered 401 \(You don't have access to this service\); give the key's owner/)
  })

  it('an id that is none, and a call in another form', async () => {
    await fails(/application.one answered 404 \(Application not found\); see whether the id/)
    dokploy.addService('application', 'app1', ENV, { createEnvFile: undefined })
    await fails(
      /answered 400 about createEnvFile \(.*\); this Dokploy wants the call in another form/,
    )
  })

  it('pages instead of answers, and redirects', async () => {
    await fails(/answered 404 .*/, false, { url: `${dokploy.url}/api` })
    await fails(/answered 200 with text\/html.* that is not JSON; see whether/, false, {
      url: `${dokploy.url}/elsewhere`,
    })
    for (const [status, words, isTemporary] of [
      [301, /answered 301; write the address .* with https/, false],
      [502, /answered 502 with text\/html that is not JSON/, true],
      [429, /answered 429; a proxy limits requests/, true],
    ] as const) {
      dokploy.answerOnce('application.one', (response) => {
        response.writeHead(status, { 'content-type': 'text/html', location: 'https://x/' })
        response.end(status === 429 ? '{}' : '<html>')
      })
      await fails(words, isTemporary)
    }
  })

  it('nobody there, and nobody who answers', async () => {
    await fails(/cannot reach http.*application.one \(ECONNREFUSED\)/, true, {
      url: 'http://127.0.0.1:1',
    })
    dokploy.answerOnce('application.one', () => undefined)
    await fails(/\(no answer within 0.05 s\)/, true, { timeoutMs: 50 })
    dokploy.answerOnce('application.one', (response) => response.destroy())
    await fails(/cannot reach/, true)
  })

  it('never with what the environment holds, the token or the key', async () => {
    dokploy.addService('application', 'app1', ENV)
    const leaks = [
      `Error: ${ENV} ${KEY} ${TOKEN}`,
      `Failed query: update "application" set "env" = $1 params: ${ENV}`,
      `bad value postgres://shop:p4ssw0rd@db/shop in ${KEY}`,
    ]
    for (const message of leaks) {
      for (const status of [400, 403, 409, 500]) {
        dokploy.answerOnce('application.saveEnvironment', (response) => {
          response.writeHead(status, { 'content-type': 'application/json' })
          response.end(JSON.stringify({ message }))
        })
        const delivery = await deliveryTo(APP)
        await assert.rejects(delivery.deliver(NEW), (error) => {
          const shown = String(error)
          assert.match(shown, new RegExp(`answered ${status}`))
          for (const secret of ['p4ssw0rd', KEY, TOKEN, 'tg_k6', 'inside']) {
            assert.ok(!shown.includes(secret), shown)
          }
          return true
        })
      }
    }
  })

  it('places and settings that are none', async () => {
    await assert.rejects(deliveryTo('dokploy:database/x#A'), fault(/names neither an application/))
    await assert.rejects(deliveryTo('dokploy:application/app1'), fault(/which variable to set/))
    await assert.rejects(deliveryTo('dokploy:application/app1#A-B'), fault(/no name of a variable/))
    await assert.rejects(deliveryTo('dokploy:mount/x?how=reload'), fault(/is changed in place/))
    await assert.rejects(deliveryTo(APP, { url: 'dokploy' }), fault(/set TOLLGATE_DOKPLOY_URL/))
    await assert.rejects(deliveryTo(APP, { apiKey: '' }), fault(/set TOLLGATE_DOKPLOY_API_KEY/))
    const place = parsePlace(APP)
    assert.ok(place)
    await assert.rejects(
      openDelivery(place, { timeoutMs: 1000 }),
      fault(
        /not said how Dokploy is reached; set TOLLGATE_DOKPLOY_URL and TOLLGATE_DOKPLOY_API_KEY/,
      ),
    )
    await assert.rejects(
      openDelivery(place, { timeoutMs: 1000, dokploy: { url: dokploy.url } }),
      fault(/; set TOLLGATE_DOKPLOY_API_KEY$/),
    )
  })

  it('passes over a moment in which Dokploy is away while it waits', async () => {
    const app = dokploy.addService('application', 'app1', ENV)
    dokploy.before('application.reload', () => {
      for (let time = 1; time <= 3; time += 1) {
        dokploy.answerOnce('docker.getServiceContainersByAppName', (response) => response.destroy())
      }
    })
    assert.match(await (await deliveryTo(APP)).deliver(NEW), /the new task runs$/)
    assert.equal(app.fields.env, NEW_ENV)
  })
})
