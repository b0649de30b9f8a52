/**
 * The compose stack as it is shipped, in a real Docker engine, with the same programs in it: agents send
 * from outside, Prometheus sees them, and nothing else of the stack can be reached from there.
 *
 * Grafana's server cannot be had where this runs, so it is left out. The engine is older than Docker
 * 27, and is told by flags to treat IPv6 as 27 does by itself.
 */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { runToEnd } from '../support/child.ts'
import { reach } from '../support/docker-reach.ts'
import { eventually } from '../support/eventually.ts'
import { addOutsider, openPorts, SERVER } from '../support/outsider.ts'
import { ask, query } from '../support/prometheus.ts'
import { startSdkAgent } from '../support/sdk-agent.ts'
import { hasStack, inspected, type Stack, startStack } from '../support/stack.ts'
import { ROOT } from '../support/tools.ts'

const PUBLISHED = [4317, 4318]
/** What a stack like this one has open when it is put together carelessly. */
const INNER_PORTS = [3000, 8888, 8889, 9090, 9093, 9100, 9115, 9464, 9466, 13133]
const TWO_SCRAPES_MS = 60_000

/** Commands of docs/compose.md that cannot be run here. */
const NOT_RUN: Readonly<Record<string, string>> = {
  'docker compose build':
    'the engine has no way out; image.test.ts builds with the same Dockerfile',
  'docker compose build --pull': 'the engine has no way out',
}

test('the stack takes what agents send, watches itself, and shows nobody else anything', async (t) => {
  if (!hasStack(t, 'nmap', 'curl', 'ip')) return
  const stack = await startStack(t)
  const outsider = await addOutsider(t, stack.engine)
  const prometheus = await stack.inside('prometheus', 9090)

  await t.test('every service is held by limits and without powers', async () => {
    for (const container of await inspected(stack)) {
      const { Name: name, HostConfig: given } = container
      assert.equal(given.ReadonlyRootfs, true, name)
      assert.deepEqual(given.CapDrop, ['ALL'], name)
      assert.deepEqual(given.SecurityOpt, ['no-new-privileges:true'], name)
      assert.ok(given.Memory > 0 && given.NanoCpus > 0 && given.PidsLimit > 0, name)
      assert.equal(given.LogConfig.Config['max-size'], '10m', name)
      assert.notEqual(container.Config.User, '', `${name} is not root`)
    }
  })

  await t.test('only the gateway is in the public network', async () => {
    const members: Record<string, string[]> = {}
    for (const { Name: name, NetworkSettings: settings } of await inspected(stack)) {
      for (const network of Object.keys(settings.Networks)) {
        members[network] = [
          ...(members[network] ?? []),
          name.replace(/^\/tollgate-|-1$/g, ''),
        ].sort()
      }
    }
    const everybody = [
      'alertmanager',
      'backup',
      'blackbox-exporter',
      'node-exporter',
      'prometheus',
      'tollgate',
    ]
    assert.deepEqual(members, {
      tollgate_public: ['tollgate'],
      tollgate_ingest: ['collector', 'tollgate'],
      tollgate_scrape: ['collector', 'prometheus'],
      tollgate_watch: everybody,
      tollgate_outbound: ['alertmanager', 'backup'],
    })
    for (const network of ['ingest', 'scrape', 'watch']) {
      const format = '--format={{.Internal}}'
      const is = await stack.engine.docker(['network', 'inspect', format, `tollgate_${network}`])
      assert.equal(is.trim(), 'true', network)
    }
  })

  await t.test(
    'what SDKs send from outside is in Prometheus, with the device it is from',
    async (t) => {
      const certificate = join(stack.engine.folder, 'ca.pem')
      await writeFile(certificate, stack.caPem)
      for (const [protocol, port] of [
        ['grpc', 4317],
        ['http', 4318],
      ] as const) {
        const agent = startSdkAgent({
          protocol,
          address: `127.0.0.1:${await reach(t, outsider, SERVER.ipv4, port)}`,
          certificate,
          token: stack.token,
          service: `shop-${protocol}`,
          host: `till-${protocol}`,
        })
        agent.work()
        await agent.stop()
        const expr = `shop_orders_total{job="shop-${protocol}",device="till-${protocol}"}`
        await eventually(async () => (await numberOf(prometheus, expr)) === 1, expr, TWO_SCRAPES_MS)
      }
      for (const kind of ['spans', 'log_records']) {
        const expr = `sum(otelcol_receiver_accepted_${kind}_total) or sum(otelcol_receiver_accepted_${kind})`
        await eventually(async () => (await numberOf(prometheus, expr)) === 2, expr, TWO_SCRAPES_MS)
      }
    },
  )

  await t.test('Prometheus reaches everything it is to watch, and whom it tells', async () => {
    const up = await eventually(
      async () => {
        const { activeTargets } = await ask<{ activeTargets: Target[] }>(prometheus, 'targets')
        return activeTargets.every(({ health }) => health === 'up') && activeTargets
      },
      'every target up',
      TWO_SCRAPES_MS,
    )
    const shipped = await readFile(join(ROOT, 'docker/prometheus/prometheus.yml'), 'utf8')
    const { scrape_configs: jobs } = parse(shipped) as { scrape_configs: { job_name: string }[] }
    assert.deepEqual(
      up.map(({ labels }) => labels.job).sort(),
      jobs.map((job) => job.job_name).sort(),
    )
    for (const module of ['tls', 'grpc']) {
      const expr = `probe_success{job="blackbox-${module}"}`
      assert.equal(await numberOf(prometheus, expr), 1, expr)
    }
    const named = `node_uname_info{nodename="${hostname()}"}`
    assert.equal(await numberOf(prometheus, named), 1, 'the node exporter tells of the host')
    const devices = await query(prometheus, 'node_network_receive_bytes_total')
    const ofHost = await readFile('/proc/1/net/dev', 'utf8')
    for (const { metric, value } of devices) {
      const [, received] = new RegExp(`^ *${metric.device}: *(\\d+)`, 'm').exec(ofHost) ?? []
      assert.ok(Number(value[1]) <= Number(received), `${metric.device} is the host’s`)
    }
    const most = Math.max(...devices.map(({ value }) => Number(value[1])))
    assert.ok(most > 2 ** 20, `${most} bytes, which is a container’s network`)
    const { groups } = await ask<{ groups: Group[] }>(prometheus, 'rules?type=alert')
    const alerts = groups.flatMap((group) => group.rules)
    assert.ok(alerts.length > 20, `${alerts.length} alerts`)
    assert.deepEqual(
      alerts.filter(({ health }) => health === 'err'),
      [],
    )
    const told = await ask<{ activeAlertmanagers: unknown[] }>(prometheus, 'alertmanagers')
    assert.equal(told.activeAlertmanagers.length, 1)
  })

  await t.test('of all ports only those of OTLP can be reached from outside', async (t) => {
    for (const [address, flags] of [
      [SERVER.ipv4, []],
      [SERVER.ipv6, ['-6']],
    ] as const) {
      const open = await openPorts(outsider, address, ['-p-', '--min-rate=3000', ...flags])
      t.diagnostic(`${address}: ${open.join(', ')} of 65535 are open`)
      assert.deepEqual(open, PUBLISHED)
    }
    // Whoever is on the same network may ask the server to pass packets on to its containers.
    for (const { Name: name, NetworkSettings: settings } of await inspected(stack)) {
      for (const { IPAddress: ipv4, GlobalIPv6Address: ipv6 } of Object.values(settings.Networks)) {
        const ports = `-p${[...PUBLISHED, ...INNER_PORTS].join(',')}`
        const open = await openPorts(outsider, ipv4, [ports])
        const open6 = ipv6 === '' ? [] : await openPorts(outsider, ipv6, [ports, '-6'])
        const allowed = name.endsWith('-tollgate-1') ? PUBLISHED : []
        for (const port of [...open, ...open6])
          assert.ok(allowed.includes(port), `${name} (${ipv4}, ${ipv6}): ${port} is open`)
      }
    }
  })

  await t.test('the commands of the page about it work', async (t) => {
    const page = await readFile(join(ROOT, 'docs/compose.md'), 'utf8')
    const commands = [...page.matchAll(/```sh\n(.*?)```/gs)]
      .flatMap(([, block = '']) => block.trim().split('\n'))
      .filter((line) => line.startsWith('docker '))
    assert.ok(commands.length > 8, `${commands.length} commands`)
    for (const command of Object.keys(NOT_RUN)) assert.ok(commands.includes(command), command)
    for (const command of commands) {
      const why = NOT_RUN[command]
      if (why === undefined) await runAsUser(stack, command)
      else t.diagnostic(`${command}: not run, ${why}`)
    }
  })

  await t.test('the gateway sees the addresses clients have, over IPv4 and IPv6', async (t) => {
    const stranger = await addOutsider(t, stack.engine)
    const wrong = ['-H', 'authorization: Bearer tg_wrong', '-H', 'content-type: application/json']
    for (const host of [SERVER.ipv4, `[${SERVER.ipv6}]`]) {
      const url = `https://${host}:4318/v1/traces`
      const { stdout, stderr } = await stranger.run(
        ...['curl', '-sk', '-g', '-o', '/dev/null', '-w', '%{http_code}'],
        ...[...wrong, '-d', '{}', url],
      )
      assert.equal(stdout, '401', stderr)
    }
    const audit = await eventually(async () => {
      const text = await auditLog(stack)
      return text.split('\n').filter((line) => line.includes('auth_refused')).length >= 2 && text
    }, 'two refusals in the audit log')
    assert.match(audit, new RegExp(`"client":{"ip":"${stranger.ipv4.replaceAll('.', '\\.')}"}`))
    assert.match(audit, new RegExp(`"client":{"ip":"${stranger.ipv6}"}`))
  })

  await t.test(
    'a stop ends every service in time, the gateway and Prometheus by themselves',
    async () => {
      await stack.compose('stop')
      for (const { Name: name, State: state } of await inspected(stack)) {
        assert.equal(state.Running, false, name)
        assert.notEqual(state.ExitCode, 137, `${name} had to be killed`)
        if (/-(tollgate|prometheus)-1$/.test(name)) assert.equal(state.ExitCode, 0, name)
      }
    },
  )
})

interface Target {
  readonly health: string
  readonly labels: { readonly job: string }
}

interface Group {
  readonly rules: readonly { readonly name: string; readonly health: string }[]
}

async function auditLog({ engine }: Stack): Promise<string> {
  const volume = ['volume', 'inspect', '--format={{.Mountpoint}}', 'tollgate_tollgate-log']
  const folder = (await engine.docker(volume)).trim()
  const { stdout } = await engine.runInside('cat', join(folder, 'audit.log'))
  return stdout
}

/** The one number that comes back; undefined for none or several. */
async function numberOf(prometheus: string, expr: string): Promise<number | undefined> {
  const [first, ...more] = await query(prometheus, expr)
  return first === undefined || more.length > 0 ? undefined : Number(first.value[1])
}

/** Runs a line in a shell, in the folder of compose.yml. Throws where it fails. */
async function runAsUser({ folder, engine }: Stack, line: string): Promise<void> {
  const { code, stdout, stderr } = await runToEnd('sh', ['-euc', line], {
    cwd: folder,
    env: engine.env,
    timeoutMs: 120_000,
  })
  assert.equal(code, 0, `${line}:\n${stdout}\n${stderr}`)
}
