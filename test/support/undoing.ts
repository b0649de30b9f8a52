/** What a test has started, ended in the opposite order: hooks of `node:test` run in the order they came in. */
import type { TestContext } from 'node:test'

/** Takes what is to be done when a test ends. A TestContext is one. */
export interface Ending {
  after(step: () => void | Promise<void>): void
}

/** Undoes the last step first, and all of them even where one fails. */
export function undoing(t: TestContext): Ending {
  const steps = new AsyncDisposableStack()
  t.after(() => steps.disposeAsync())
  return { after: (step) => steps.defer(step) }
}
