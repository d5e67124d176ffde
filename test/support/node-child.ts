/**
 * Starts a node on the data directory that is its first argument, does what the second says and tells of it in lines of
 * JSON; then holds the directory until it is killed or standard input ends. An upload kills itself once it has come further than so many bytes.
 */
import { writeSync } from 'node:fs'
import { startNode } from '../../node/index.ts'

const [dataDir, action, path, dieAtBytes = 'Infinity'] = process.argv.slice(2) as [
  string,
  'hold' | 'upload' | 'gc' | 'repair',
  string,
  string?,
]
const say = (line: object) => writeSync(1, `${JSON.stringify(line)}\n`)

try {
  await using node = await startNode({ network: 'offline', dataDir })
  say({ started: process.pid })
  if (action === 'upload') {
    const onProgress = ({ loaded }: { loaded: number }): void => {
      say({ loaded })
      if (loaded > Number(dieAtBytes)) process.kill(process.pid, 'SIGKILL')
    }
    const { id } = await node.client.artifact.uploadFile({ path, onProgress })
    say({ done: id })
  } else if (action === 'gc') {
    say({ done: await node.gc({ now: true }) })
  } else if (action === 'repair') {
    await node.check({ repair: true, onProgress: ({ step, done }) => say({ step, loaded: done }) })
    say({ done: true })
  }
  for await (const _ of process.stdin);
} catch (error) {
  const { code, message, details } = error as { code: string; message: string; details: object }
  say({ code, message, details })
}
