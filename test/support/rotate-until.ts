/**
 * One run of a rotation as a process that kills itself: with real files, a real gateway and the real
 * lock, up to its operation number `at`, before or after which it is gone.
 * Arguments: state directory, truth, place to deliver to, holder, at, `before` or `after`.
 */
import { join } from 'node:path'
import { controlSocketPath } from '../../src/admin/control.ts'
import { advance } from '../../src/rotation/advance.ts'
import { begin } from '../../src/rotation/begin.ts'
import { GatewayCalls } from '../../src/rotation/gateway-calls.ts'
import { JournalFiles } from '../../src/rotation/journal-files.ts'
import { takeRunLock } from '../../src/rotation/run-lock.ts'
import type { World } from '../../src/rotation/world.ts'
import { FileDelivery } from '../../src/secrets/file-delivery.ts'
import { FileTruth } from '../../src/secrets/file-truth.ts'
import { parsePlace } from '../../src/secrets/place.ts'

const [stateDir = '', truthPath = '', placeText = '', holder = '', at = '', when = ''] =
  process.argv.slice(2)
let operations = 0

async function step<T>(act: () => Promise<T>): Promise<T> {
  operations += 1
  const isLast = operations === Number(at)
  if (isLast && when === 'after') await act()
  if (isLast) process.kill(process.pid, 'SIGKILL')
  return await act()
}

const truth = new FileTruth(truthPath, `file:${truthPath}`)
const journal = new JournalFiles(join(stateDir, 'rotations'))
const calls = new GatewayCalls(controlSocketPath(stateDir))
const place = parsePlace(placeText)
if (place === undefined) throw new Error(`${placeText} is no place`)
const delivery = new FileDelivery(place)

const world: World = {
  truth: {
    place: truth.place,
    readCurrent: () => step(() => truth.readCurrent()),
    write: (text, version) => step(() => truth.write(text, version)),
    close: () => truth.close(),
  },
  gateways: {
    ask: (gateways) => step(() => calls.ask(gateways)),
    reload: (gateways) => step(() => calls.reload(gateways)),
  },
  journal: {
    load: (name) => step(() => journal.load(name)),
    save: (rotation) => step(() => journal.save(rotation)),
    end: (past) => step(() => journal.end(past)),
  },
  clock: {
    now: () => ({ wallMs: Date.now(), uptimeMs: performance.now(), boot: String(process.pid) }),
    sleep: (ms) => new Promise((resume) => setTimeout(resume, ms)),
  },
  openDelivery: async () => ({
    place: placeText,
    check: () => delivery.check(),
    deliver: (token) => step(() => delivery.deliver(token)),
    close: () => delivery.close(),
  }),
  tell: (event) => step(async () => console.log(event.name)),
}

const lock = await takeRunLock(join(stateDir, 'rotations'))
const rotation =
  (await journal.load(holder)) ??
  (await begin(
    holder,
    {
      truth: truth.place,
      deliver: [placeText],
      gateways: ['local'],
      quietMs: 1000,
      deadlineMs: 86_400_000,
      revokeAfterMs: 0,
      acceptWithinMs: 30_000,
    },
    world,
  ))
console.log(JSON.stringify(await advance(rotation, world)))
await lock.release()
