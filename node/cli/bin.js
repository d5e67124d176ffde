#!/usr/bin/env node
// Plain JavaScript without top-level await: any Node since 12.17 parses it, so an old one says what is missing
// instead of a syntax error.
if (Number(process.versions.node.split('.')[0]) < 24) {
  console.error(
    `artifact-hub needs Node.js 24 or newer and this is ${process.version}; in a clone, "npm ci" brings one: run it as "npx artifact-hub".`,
  )
  process.exitCode = 1
} else {
  // Compiled code is kept between runs: a third of the start-up time.
  import('node:module')
    .then(({ enableCompileCache }) => enableCompileCache())
    .then(() => import('./main.ts'))
    .then(({ main }) => main(process.argv.slice(2)))
    .then((exitCode) => {
      process.exitCode = exitCode
      // A libp2p that is stopped within its first second leaves timers behind for the rest of it. Nobody should wait for those.
      if (process.stdout.writableLength + process.stderr.writableLength === 0) process.exit()
    })
    .catch((error) => {
      console.error(error)
      process.exitCode = 1
    })
}
