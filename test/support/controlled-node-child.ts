/**
 * A node in a process of its own: its first argument has the options in JSON. Lines of JSON on standard input name calls; answers are
 * lines of JSON. It closes when standard input ends.
 */
import { createHash } from 'node:crypto'
import { writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { startNode } from '../../node/index.ts'
import { seededBytes } from '../client/contract-support.ts'

/** A call by its path from the node (`client.namespace.join`, `status`), or one that is about bytes, which do not go over the line. */
export type NodeCommand =
  | { readonly id: number; readonly call: string; readonly options: unknown }
  | {
      readonly id: number
      readonly call: 'write'
      readonly options: { namespace: string; name: string; seed: string; bytes: number }
    }
  | { readonly id: number; readonly call: 'read'; readonly options: { artifactId: string } }
  | { readonly id: number; readonly call: 'peakMemory'; readonly options: undefined }

const say = (line: object) => writeSync(1, `${JSON.stringify(line)}\n`)
const node = await startNode(JSON.parse(process.argv[2] as string))
say({ started: node.did })
for await (const line of createInterface(process.stdin)) {
  const command = JSON.parse(line) as NodeCommand
  void perform(command).then(
    (result) => say({ id: command.id, result }),
    (error) => say({ id: command.id, error: String(error), code: error?.code, details: error?.details }),
  )
}
await node.close()

async function perform({ call, options }: NodeCommand): Promise<unknown> {
  const { artifact } = node.client
  switch (call) {
    case 'write': {
      const { seed, bytes, ...where } = options as { namespace: string; name: string; seed: string; bytes: number }
      return await artifact.create({ ...where, data: seededBytes(seed, bytes) })
    }
    case 'read': {
      const data = await artifact.download(options as { artifactId: string })
      return createHash('sha256').update(data).digest('hex')
    }
    case 'peakMemory':
      // Kibibytes, at its highest since the process began.
      return process.resourceUsage().maxRSS * 1024
    default: {
      const path = call.split('.')
      const method = path.pop() as string
      // biome-ignore lint/suspicious/noExplicitAny: any call of the node
      const target = path.reduce((part: any, name) => part[name], node)
      return await target[method](options)
    }
  }
}
