/** Infrastructure: probes, collector and Prometheus. */
import { ATTENTION, BAD, GOOD } from './colours.ts'
import type { Section } from './dashboard.ts'
import { bars, lines, states } from './graphs.ts'
import { words } from './panels.ts'
import { table } from './table.ts'

/** The gateway as a stranger sees it, and every target of Prometheus. */
export function probes(): Section {
  const jobs = 'job=~"blackbox-tls|blackbox-grpc"'
  const seen = states(
    {
      title: 'Public ports as a stranger sees them',
      meaning:
        'Green: the port answered the blackbox exporter. Red bands are times in which agents may not have got through.',
      alerts: ['TollgateUnreachable'],
      queries: [
        { expr: `min by (job, instance) (probe_success{${jobs}})`, legend: '{{job}} {{instance}}' },
      ],
    },
    words('answers', 'silent'),
  )
  const duration = lines(
    {
      title: 'How long a probe takes',
      meaning: 'Connection, handshake and answer. Slow probes: the gateway or the machine is busy.',
      unit: 's',
      queries: [{ expr: `max by (job) (probe_duration_seconds{${jobs}})`, legend: '{{job}}' }],
    },
    { figure: 'max' },
  )
  const targets = table({
    title: 'Targets',
    meaning:
      'What Prometheus reads, whether it could the last time, how long that took and how many samples came. The page Targets of Prometheus has the error.',
    alerts: ['CollectorUnwatched', 'NodeUnwatched', 'TollgateDown'],
    labels: { job: 'Job', instance: 'Target' },
    columns: [
      {
        title: 'Read',
        expr: 'min by (job, instance) (up)',
        unit: 'none',
        words: words('yes', 'no'),
      },
      {
        title: 'Took',
        expr: 'max by (job, instance) (scrape_duration_seconds)',
        unit: 's',
        steps: [GOOD, [5, ATTENTION], [10, BAD]],
      },
      {
        title: 'Samples',
        expr: 'max by (job, instance) (scrape_samples_scraped)',
        unit: 'short',
      },
    ],
    sortBy: 'Job',
  })
  return {
    title: 'Probes and targets',
    bands: [
      {
        height: 8,
        panels: [
          [8, seen],
          [6, duration],
          [10, targets],
        ],
      },
    ],
  }
}

const SIGNALS = { spans: 'spans', metric_points: 'data points', log_records: 'log records' }

/** A line for each signal. */
const bySignal = (metric: string, word: string, only = '') =>
  Object.entries(SIGNALS).map(([name, signal]) => ({
    expr: `sum(rate(${metric}_${name}{job="collector"}[$__rate_interval]))${only}`,
    legend: `${signal}${word}`,
  }))

/** The collector about itself. */
export function collector(): Section {
  const accepted = lines({
    title: 'Collector: taken',
    meaning:
      'Spans, data points and log records that its receivers took. Compare with what was sent on: what is taken and not sent waits in the collector, or was filtered.',
    unit: 'cps',
    queries: bySignal('otelcol_receiver_accepted', ''),
  })
  const sent = lines({
    title: 'Collector: sent on',
    meaning:
      'By exporter, to Prometheus or wherever its configuration says. Nothing here while something is taken: an exporter hangs.',
    unit: 'cps',
    queries: Object.entries(SIGNALS).map(([name, signal]) => ({
      expr: `sum by (exporter) (rate(otelcol_exporter_sent_${name}{job="collector"}[$__rate_interval]))`,
      legend: `${signal}, {{exporter}}`,
    })),
  })
  const refused = lines({
    title: 'Collector: refused',
    meaning:
      'What its receivers did not take, mostly because its memory limiter said so; agents see `collector_refused`. Give the collector more memory, or fewer attributes to carry.',
    unit: 'cps',
    queries: bySignal('otelcol_receiver_refused', ''),
  })
  const memory = lines({
    title: 'Collector: memory',
    meaning:
      'Memory of the process. Its memory limiter should be well below the limit of the container.',
    unit: 'bytes',
    queries: [
      { expr: 'sum(otelcol_process_memory_rss{job="collector"})', legend: 'resident' },
      {
        expr: 'sum(otelcol_process_runtime_heap_alloc_bytes{job="collector"})',
        legend: 'heap',
      },
    ],
  })
  return {
    title: 'Collector',
    bands: [
      {
        height: 8,
        panels: [
          [6, accepted],
          [6, sent],
          [6, refused],
          [6, memory],
        ],
      },
    ],
  }
}

/** Prometheus about itself. */
export function prometheus(): Section {
  const own = 'job="prometheus"'
  const series = lines({
    title: 'Prometheus: series in memory',
    meaning:
      'Series that were written within the last hours. Each costs some kilobytes of memory; a jump is a new label with many values.',
    unit: 'short',
    queries: [{ expr: `sum(prometheus_tsdb_head_series{${own}})`, legend: 'series' }],
  })
  const samples = bars({
    title: 'Samples by target',
    meaning:
      'How many each scrape brings. `agents` is bounded by `sample_limit` in prometheus.yml; beyond it the whole scrape is thrown away.',
    alerts: ['CollectorUnwatched'],
    unit: 'short',
    queries: [
      {
        expr: 'topk(10, sum by (job) (scrape_samples_post_metric_relabeling))',
        legend: '{{job}}',
      },
    ],
    steps: [GOOD, [150_000, ATTENTION], [200_000, BAD]],
    min: 0,
    decimals: 0,
  })
  const disk = lines({
    title: 'Prometheus: disk',
    meaning:
      'Blocks on disk, beside the bound (`--storage.tsdb.retention.size`). At the bound the oldest block is deleted, which is as it should be.',
    alerts: ['HostDiskFillsUp'],
    unit: 'bytes',
    queries: [
      { expr: `sum(prometheus_tsdb_storage_blocks_bytes{${own}})`, legend: 'blocks' },
      { expr: `sum(prometheus_tsdb_retention_limit_bytes{${own}}) > 0`, legend: 'bound' },
    ],
  })
  const oldest = lines({
    title: 'Prometheus: how far back',
    meaning:
      'Age of the oldest sample. Shorter than `--storage.tsdb.retention.time`: the bound of size came first, or data was lost.',
    unit: 's',
    queries: [
      {
        expr: `time() - min(prometheus_tsdb_lowest_timestamp_seconds{${own}})`,
        legend: 'oldest sample',
      },
    ],
  })
  const rules = lines({
    title: 'Rules and configuration',
    meaning:
      'Rules that could not be worked out in five minutes, and whether the last reload was good (1). A rule that fails is an alert that is blind.',
    alerts: ['PrometheusRulesFail', 'PrometheusConfigBad'],
    unit: 'short',
    queries: [
      {
        expr: `sum(increase(prometheus_rule_evaluation_failures_total{${own}}[5m]))`,
        legend: 'failures',
      },
      {
        expr: `min(prometheus_config_last_reload_successful{${own}})`,
        legend: 'last reload good',
      },
    ],
  })
  const appended = lines({
    title: 'Prometheus: samples written',
    meaning: 'Samples a second. Each takes one to two bytes on disk when compacted.',
    unit: 'cps',
    queries: [
      {
        expr: `sum(rate(prometheus_tsdb_head_samples_appended_total{${own}}[$__rate_interval]))`,
        legend: 'samples',
      },
    ],
  })
  const cost = lines({
    title: 'Prometheus: memory',
    meaning: 'Memory of the process. It grows with the series, and with queries over long times.',
    unit: 'bytes',
    queries: [{ expr: `sum(process_resident_memory_bytes{${own}})`, legend: 'resident' }],
  })
  return {
    title: 'Prometheus',
    bands: [
      {
        height: 8,
        panels: [
          [6, series],
          [6, appended],
          [6, samples],
          [6, cost],
        ],
      },
      {
        height: 8,
        panels: [
          [8, disk],
          [8, oldest],
          [8, rules],
        ],
      },
    ],
  }
}
