/** Writes docker/grafana/dashboards from what is here: `npm run dashboards`. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { dashboards } from './all.ts'

const FOLDER = join(import.meta.dirname, '../dashboards')

for (const [name, dashboard] of Object.entries(dashboards()))
  writeFileSync(join(FOLDER, name), `${JSON.stringify(dashboard, undefined, 2)}\n`)
