/** Infrastructure: backups. */
import type { Section } from './dashboard.ts'
import { lines } from './graphs.ts'

/** Is there a backup, and how large? */
export function backup(): Section {
  const age = lines({
    title: 'Age of the last good backup',
    meaning:
      'A saw of 24 hours is right: one backup a day. A line that goes on rising: none was made since.',
    alerts: ['BackupTooOld', 'BackupMissing'],
    unit: 's',
    queries: [
      {
        expr: 'time() - max(tollgate_backup_last_success_timestamp_seconds{job=~"backup|node"})',
        legend: 'age',
      },
    ],
  })
  return { title: 'Backup', bands: [{ height: 8, panels: [[8, age]] }] }
}
