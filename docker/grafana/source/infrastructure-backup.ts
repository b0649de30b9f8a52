/** Infrastructure: backups. */
import { ATTENTION, BAD, GOOD } from './colours.ts'
import type { Section } from './dashboard.ts'
import { lines } from './graphs.ts'
import { stat, words } from './panels.ts'
import { table } from './table.ts'

const JOB = 'job="backup"'
const DAY = 86_400

/** Is there a backup in each place, how large is it, and was it ever read back? */
export function backup(): Section {
  const age = lines({
    title: 'Age of the last good backup',
    meaning:
      'By target. A saw of 24 hours is right: one backup a day. A line that goes on rising: none was made since.',
    alerts: ['BackupTooOld', 'BackupMissing'],
    unit: 's',
    queries: [
      {
        expr: `time() - max by (target) (tollgate_backup_last_success_timestamp_seconds{${JOB}})`,
        legend: '{{target}}',
      },
    ],
    empty: 'no backup',
  })
  const size = lines({
    title: 'Size of backups',
    meaning:
      'The newest one, by target, compressed. It grows until the retention of Prometheus is reached. One half as large as the one before: something is missing in it.',
    alerts: ['BackupShrunk'],
    unit: 'bytes',
    queries: [
      {
        expr: `max by (target) (tollgate_backup_last_size_bytes{${JOB}})`,
        legend: '{{target}}',
      },
    ],
    empty: 'no backup',
  })
  const targets = table({
    title: 'Targets of backups',
    meaning:
      'Where copies go, whether the last attempt came there, how many are kept, and when the newest was made. The log of the backup container says why one failed.',
    alerts: ['BackupFailing'],
    labels: { target: 'Target' },
    columns: [
      {
        title: 'Last attempt',
        expr: `min by (target) (tollgate_backup_last_attempt_success{${JOB}})`,
        unit: 'none',
        words: words('good', 'failed'),
      },
      {
        title: 'Newest',
        expr: `max by (target) (tollgate_backup_last_success_timestamp_seconds{${JOB}}) * 1000`,
        unit: 'dateTimeFromNow',
      },
      {
        title: 'Kept',
        expr: `max by (target) (tollgate_backup_copies{${JOB}})`,
        unit: 'short',
        decimals: 0,
      },
    ],
    sortBy: 'Target',
  })
  const verified = stat({
    title: 'Last read back',
    meaning:
      'How long ago a backup was last restored to the side and every sample of it read. A backup that was never read back is a hope.',
    alerts: ['BackupNotVerified'],
    unit: 's',
    queries: [
      {
        expr: `time() - max(tollgate_backup_last_verify_success_timestamp_seconds{${JOB}})`,
      },
    ],
    steps: [GOOD, [8 * DAY, ATTENTION], [9 * DAY, BAD]],
    empty: 'never',
  })
  const took = stat({
    title: 'Last backup took',
    meaning:
      'From the snapshot to the last copy. It grows with the data and with the way to the bucket.',
    unit: 's',
    queries: [{ expr: `max(tollgate_backup_last_duration_seconds{${JOB}})` }],
    steps: [GOOD, [3600, ATTENTION]],
    empty: 'none yet',
  })
  const failures = lines({
    title: 'Failures of backups',
    meaning: 'Failures within an hour, by the stage in which they came.',
    alerts: ['BackupFailing'],
    unit: 'short',
    queries: [
      {
        expr: `sum by (stage) (increase(tollgate_backup_failures_total{${JOB}}[1h]))`,
        legend: '{{stage}}',
      },
    ],
    decimals: 0,
  })
  return {
    title: 'Backup',
    bands: [
      {
        height: 8,
        panels: [
          [6, age],
          [6, size],
          [12, targets],
        ],
      },
      {
        height: 6,
        panels: [
          [6, verified],
          [6, took],
          [12, failures],
        ],
      },
    ],
  }
}
