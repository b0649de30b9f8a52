#!/usr/bin/env node
/**
 * The process: command line → command → exit code. Nothing is imported before the version of Node
 * is known to do: what follows would not even parse on an old one.
 */
const LEAST = { major: 22, minor: 22 }

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < LEAST.major || (major === LEAST.major && minor < LEAST.minor)) {
  process.stderr.write(
    `tollgate: this is Node.js ${process.versions.node}; Tollgate needs ${LEAST.major}.${LEAST.minor} or newer (https://nodejs.org)\n`,
  )
  process.exitCode = 1
} else {
  // A reader that leaves (`tollgate token list | head -1`) is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
  const { dispatch } = await import('./commands/dispatch.ts')
  process.exitCode = await dispatch(process.argv.slice(2), process)
  // Nothing that was left open may keep a finished command alive; what was written goes out first.
  process.stdout.write('', () => process.stderr.write('', () => process.exit()))
}

export {}
