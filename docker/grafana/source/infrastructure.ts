/** Infrastructure: the machine, and what stands around the gateway. */
import type { Dashboard } from '@grafana/schema'
import { ATTENTION, BAD, GOOD } from './colours.ts'
import { choice, dashboard, type Section } from './dashboard.ts'
import { backup } from './infrastructure-backup.ts'
import { machine } from './infrastructure-machine.ts'
import { collector, probes, prometheus } from './infrastructure-stack.ts'
import { stat } from './panels.ts'
import { DISK, NODE } from './selectors.ts'

/** Of each file system, the part that is free. */
const FREE = `node_filesystem_avail_bytes{${DISK}} / node_filesystem_size_bytes{${DISK}}`

function glance(): Section {
  const unwatched = stat({
    title: 'Unwatched',
    meaning:
      'Targets that Prometheus cannot read now. **Targets** below names them; the page Targets of Prometheus has the error.',
    alerts: ['CollectorUnwatched', 'NodeUnwatched', 'TollgateDown'],
    unit: 'none',
    queries: [{ expr: 'count(up == 0) or vector(0)' }],
    steps: [GOOD, [1, BAD]],
  })
  const cpu = stat(
    {
      title: 'CPU busy',
      meaning:
        'Of all processors, the part that works; waiting for the disk is not in it. All of it for long: everything gets slow, the gateway first.',
      unit: 'percentunit',
      queries: [
        {
          expr: `1 - avg(sum by (instance, cpu) (rate(node_cpu_seconds_total{${NODE},mode=~"idle|iowait"}[$__rate_interval])))`,
        },
      ],
      steps: [GOOD, [0.8, ATTENTION], [0.95, BAD]],
      decimals: 0,
    },
    { trend: true },
  )
  const memory = stat(
    {
      title: 'Memory available',
      meaning:
        'What programs can still get; caches give way. Below a tenth the kernel soon kills the largest process.',
      alerts: ['HostMemoryLow'],
      unit: 'percentunit',
      queries: [
        {
          expr: `min(node_memory_MemAvailable_bytes{${NODE}} / node_memory_MemTotal_bytes{${NODE}})`,
        },
      ],
      steps: [BAD, [0.1, ATTENTION], [0.2, GOOD]],
      decimals: 0,
    },
    { trend: true },
  )
  const disk = stat(
    {
      title: 'Disk free',
      meaning:
        'Of the fullest file system. Full disks stop logs, tokens and Prometheus: **Disk space** names the one.',
      alerts: ['HostDiskFillsUp', 'HostDiskAlmostFull'],
      unit: 'percentunit',
      queries: [{ expr: `min(${FREE})` }],
      steps: [BAD, [0.1, ATTENTION], [0.2, GOOD]],
      decimals: 0,
    },
    { trend: true },
  )
  const clock = stat({
    title: 'Clock off by',
    meaning:
      'How far the clock is off, as its daemon knows. Tokens, certificates and the times of all data are judged by it.',
    alerts: ['HostClockOff', 'HostClockNotSynchronised'],
    unit: 's',
    queries: [{ expr: `max(abs(node_timex_offset_seconds{${NODE}}))` }],
    steps: [GOOD, [0.1, ATTENTION], [0.5, BAD]],
  })
  const uptime = stat({
    title: 'Uptime',
    meaning:
      'Since the start of the machine. A short one that you did not ask for: the provider, or a crash; see `journalctl -b -1 -e`.',
    unit: 's',
    queries: [{ expr: `min(time() - node_boot_time_seconds{${NODE}})` }],
    steps: [ATTENTION, [3600, GOOD]],
  })
  const age = stat({
    title: 'Last good backup',
    meaning: 'How long ago it was made; there should be one a day. Its log says why there is none.',
    alerts: ['BackupTooOld', 'BackupMissing'],
    unit: 's',
    queries: [
      {
        expr: 'time() - max(tollgate_backup_last_success_timestamp_seconds{job=~"backup|node"})',
      },
    ],
    steps: [GOOD, [25 * 3600, ATTENTION], [26 * 3600, BAD]],
    empty: 'no backup',
  })
  const series = stat(
    {
      title: 'Series in memory',
      meaning:
        'Of Prometheus: each costs some kilobytes. What grows without end: **Samples by target** names who sends it.',
      unit: 'short',
      queries: [{ expr: 'max(prometheus_tsdb_head_series{job="prometheus"})' }],
      steps: [GOOD, [200_000, ATTENTION], [500_000, BAD]],
    },
    { trend: true },
  )
  const all = [unwatched, cpu, memory, disk, clock, uptime, age, series]
  return { bands: [{ height: 4, panels: all.map((panel) => [3, panel]) }] }
}

/** The dashboard. */
export function infrastructure(): Dashboard {
  return dashboard({
    uid: 'tollgate-infrastructure',
    title: 'Tollgate infrastructure',
    description:
      'The machine, and what stands around the gateway: probes, collector, Prometheus, backup.',
    from: 'now-24h',
    variables: [
      choice(
        'node',
        'Machine',
        'Which machines, if several have a node exporter.',
        'label_values(node_uname_info{job="node"}, instance)',
        { all: '.+' },
      ),
    ],
    sections: [glance(), machine(), probes(), collector(), prometheus(), backup()],
  })
}
