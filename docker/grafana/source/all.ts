/** Every dashboard, by the name of its file in docker/grafana/dashboards. */
import type { Dashboard } from '@grafana/schema'
import { agents } from './agents.ts'
import { infrastructure } from './infrastructure.ts'
import { overview } from './overview.ts'

/** Built anew at each call. */
export function dashboards(): Readonly<Record<string, Dashboard>> {
  return {
    'overview.json': overview(),
    'infrastructure.json': infrastructure(),
    'agents.json': agents(),
  }
}
