/** Infrastructure: what the node exporter says of the machine. */
import { BAD, GOOD, QUIET } from './colours.ts'
import type { Section } from './dashboard.ts'
import { lines } from './graphs.ts'
import { DISK, NETWORK, NODE } from './selectors.ts'

/** Processors, memory, disks, network, and tables of the kernel. */
export function machine(): Section {
  const cpu = lines(
    {
      title: 'CPU',
      meaning:
        'What the processors do, all of them together as 100 %. `iowait` waits for the disk, `steal` is what the host of the virtual machine kept for others: more than a few percent of that is a reason to move.',
      unit: 'percentunit',
      queries: [
        {
          expr: `sum by (mode) (rate(node_cpu_seconds_total{${NODE},mode!="idle"}[$__rate_interval])) / scalar(count(node_cpu_seconds_total{${NODE},mode="idle"}))`,
          legend: '{{mode}}',
        },
      ],
      min: 0,
    },
    { isStacked: true, colours: { iowait: 'purple', steal: BAD } },
  )
  const load = lines({
    title: 'Load',
    meaning:
      'Processes that run or wait, on average over 1 and 15 minutes, beside the number of processors. Above that number for long, work queues up.',
    unit: 'short',
    queries: [
      { expr: `sum(node_load1{${NODE}})`, legend: '1 min' },
      { expr: `sum(node_load15{${NODE}})`, legend: '15 min' },
      {
        expr: `count(node_cpu_seconds_total{${NODE},mode="idle"})`,
        legend: 'processors',
      },
    ],
  })
  const memory = lines(
    {
      title: 'Memory',
      meaning:
        'In use by programs, caches that give way, and free. Programs near the top: `docker stats` shows which.',
      alerts: ['HostMemoryLow'],
      unit: 'bytes',
      queries: [
        {
          expr: `sum(node_memory_MemTotal_bytes{${NODE}} - node_memory_MemAvailable_bytes{${NODE}})`,
          legend: 'programs',
        },
        {
          expr: `sum(node_memory_MemAvailable_bytes{${NODE}} - node_memory_MemFree_bytes{${NODE}})`,
          legend: 'caches',
        },
        { expr: `sum(node_memory_MemFree_bytes{${NODE}})`, legend: 'free' },
      ],
    },
    { isStacked: true, colours: { programs: 'blue', caches: 'light-blue', free: QUIET } },
  )
  const pressure = lines({
    title: 'Swapped, and killed for memory',
    meaning:
      'Pages swapped in and out, a second, and processes that the kernel killed within five minutes because memory had run out. Any kill is one too many: give the container that died a limit, or the machine more.',
    alerts: ['HostMemoryLow'],
    unit: 'short',
    queries: [
      {
        expr: `sum(rate(node_vmstat_pswpin{${NODE}}[$__rate_interval]) + rate(node_vmstat_pswpout{${NODE}}[$__rate_interval]))`,
        legend: 'pages swapped',
      },
      { expr: `sum(increase(node_vmstat_oom_kill{${NODE}}[5m]))`, legend: 'killed' },
    ],
  })
  const disk = lines(
    {
      title: 'Disk space used',
      meaning:
        'Of each file system. At 90 % there is an alert, and one before it if it will be full within a day. `du -xh --max-depth=2 /var/lib/docker | sort -h` finds what grows.',
      alerts: ['HostDiskFillsUp', 'HostDiskAlmostFull'],
      unit: 'percentunit',
      queries: [
        {
          expr: `1 - min by (instance, mountpoint) (node_filesystem_avail_bytes{${DISK}} / node_filesystem_size_bytes{${DISK}})`,
          legend: '{{mountpoint}}',
        },
      ],
      steps: [GOOD, [0.9, BAD]],
      min: 0,
      max: 1,
    },
    { showsThreshold: true },
  )
  const inodes = lines(
    {
      title: 'Inodes used',
      meaning: 'Of each file system. Without a free one no file can be made, however much is free.',
      alerts: ['HostInodesLow'],
      unit: 'percentunit',
      queries: [
        {
          expr: `1 - min by (instance, mountpoint) (node_filesystem_files_free{${DISK}} / node_filesystem_files{${DISK}})`,
          legend: '{{mountpoint}}',
        },
      ],
      steps: [GOOD, [0.9, BAD]],
      min: 0,
      max: 1,
    },
    { showsThreshold: true },
  )
  const io = lines({
    title: 'Disk read and written',
    meaning:
      'Bytes a second. Prometheus writes in bursts every two hours, and a backup reads. Steady reading with little free memory: the caches have become too small.',
    unit: 'Bps',
    queries: [
      {
        expr: `sum by (device) (rate(node_disk_read_bytes_total{${NODE}}[$__rate_interval]))`,
        legend: 'read, {{device}}',
      },
      {
        expr: `sum by (device) (rate(node_disk_written_bytes_total{${NODE}}[$__rate_interval]))`,
        legend: 'written, {{device}}',
      },
    ],
  })
  const busy = lines({
    title: 'Disk busy',
    meaning:
      'The part of the time in which each disk had something to do. Near 100 % for long, everything that writes waits.',
    unit: 'percentunit',
    queries: [
      {
        expr: `max by (device) (rate(node_disk_io_time_seconds_total{${NODE}}[$__rate_interval]))`,
        legend: '{{device}}',
      },
    ],
  })
  const network = lines({
    title: 'Network',
    meaning:
      'Bytes a second of the devices of the machine, containers left out. Many providers bill what goes out.',
    unit: 'Bps',
    queries: [
      {
        expr: `sum by (device) (rate(node_network_receive_bytes_total{${NETWORK}}[$__rate_interval]))`,
        legend: 'in, {{device}}',
      },
      {
        expr: `sum by (device) (rate(node_network_transmit_bytes_total{${NETWORK}}[$__rate_interval]))`,
        legend: 'out, {{device}}',
      },
    ],
  })
  const errors = lines({
    title: 'Packets lost and sent again',
    meaning:
      'Packets dropped or broken at a device, TCP segments sent again, and connections that no program took in time. Rising with the traffic: the line, or a program that is too busy to accept.',
    unit: 'cps',
    queries: [
      {
        expr: `sum(rate(node_network_receive_drop_total{${NETWORK}}[$__rate_interval]) + rate(node_network_receive_errs_total{${NETWORK}}[$__rate_interval]) + rate(node_network_transmit_drop_total{${NETWORK}}[$__rate_interval]) + rate(node_network_transmit_errs_total{${NETWORK}}[$__rate_interval]))`,
        legend: 'dropped or broken',
      },
      {
        expr: `sum(rate(node_netstat_Tcp_RetransSegs{${NODE}}[$__rate_interval]))`,
        legend: 'sent again',
      },
      {
        expr: `sum(rate(node_netstat_TcpExt_ListenDrops{${NODE}}[$__rate_interval]))`,
        legend: 'not accepted',
      },
    ],
  })
  const conntrack = lines(
    {
      title: 'Connection table of the kernel',
      meaning:
        'How full it is. The kernel keeps each connection through ports of Docker there; when it is full, new ones are dropped without a word.',
      alerts: ['HostConntrackNearlyFull'],
      unit: 'percentunit',
      queries: [
        {
          expr: `max by (instance) (node_nf_conntrack_entries{${NODE}} / node_nf_conntrack_entries_limit{${NODE}})`,
          legend: '{{instance}}',
        },
      ],
      steps: [GOOD, [0.75, BAD]],
      min: 0,
      empty: 'the kernel tracks no connections',
    },
    { showsThreshold: true, figure: 'max' },
  )
  const clock = lines({
    title: 'Clock',
    meaning:
      'How far it is off, and whether something sets it (1) or nothing does (0). chrony or systemd-timesyncd should.',
    alerts: ['HostClockOff', 'HostClockNotSynchronised'],
    unit: 'short',
    queries: [
      { expr: `max(abs(node_timex_offset_seconds{${NODE}}))`, legend: 'seconds off' },
      { expr: `min(node_timex_sync_status{${NODE}})`, legend: 'is set' },
    ],
  })
  return {
    title: 'The machine',
    bands: [
      {
        height: 8,
        panels: [
          [6, cpu],
          [6, load],
          [6, memory],
          [6, pressure],
        ],
      },
      {
        height: 8,
        panels: [
          [6, disk],
          [6, inodes],
          [6, io],
          [6, busy],
        ],
      },
      {
        height: 8,
        panels: [
          [6, network],
          [6, errors],
          [6, conntrack],
          [6, clock],
        ],
      },
    ],
  }
}
