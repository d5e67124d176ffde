/**
 * The main job on real input: `npm run demo [FILE…]`. Stores the files in a node of its own and shows what happens to them; then
 * three agents and a replica, each a process, share the largest, a group reads what an agent outside it shares, and a link is fetched over HTTP. All of it is in a temporary folder that is removed at the end.
 * Without files it takes two that are there after `npm ci`: the Node binary that runs it, and the lock file. Ends with 1 when
 * anything is not as promised.
 */
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { shareWithGroup } from './demo/group.ts'
import { serveLinks } from './demo/link.ts'
import { shareBetweenAgents } from './demo/share.ts'
import { storeFiles } from './demo/store.ts'

const files = process.argv.slice(2)
if (files.length === 0) files.push(process.execPath, fileURLToPath(new URL('../package-lock.json', import.meta.url)))

const folder = await mkdtemp(join(tmpdir(), 'artifact-hub-demo-'))
try {
  await storeFiles(folder, files)
  await shareBetweenAgents(folder, await largestOf(files))
  await shareWithGroup(folder)
  await serveLinks(folder, await largestOf(files))
  console.log('\nAll of it worked.')
} finally {
  await rm(folder, { recursive: true, force: true })
}

async function largestOf(paths: readonly string[]): Promise<string> {
  const sized = await Promise.all(paths.map(async (path) => ({ path, size: (await stat(path)).size })))
  return sized.reduce((largest, next) => (next.size > largest.size ? next : largest)).path
}
