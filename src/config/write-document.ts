/** Writes `docs/configuration.md` anew: `node src/config/write-document.ts`. */
import { writeFileSync } from 'node:fs'
import { configurationPage } from './document.ts'

writeFileSync(new URL('../../docs/configuration.md', import.meta.url), configurationPage())
