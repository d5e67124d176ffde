/**
 * A member of a namespace in a process of its own: starts a node on its first argument, listening on the port that is its second,
 * and does what lines of JSON on standard input say. Answers in lines of JSON; tells of each write once it is acknowledged.
 */
import { createHash } from 'node:crypto'
import { writeSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { createInterface } from 'node:readline'
import { numbers } from '../../node/disk/test-support/simulated-disk.ts'
import { type Artifact, isHubError, startNode } from '../../node/index.ts'
import { seededBytes } from '../client/contract-support.ts'

/** What it is told. */
export type MemberCommand =
  | { readonly do: 'create' }
  | { readonly do: 'grant'; readonly agents: readonly string[] }
  | { readonly do: 'join'; readonly ticket: string }
  | { readonly do: 'work'; readonly steps: number; readonly seed: number }
  | { readonly do: 'state' }
  | { readonly do: 'read' }

const [dataDir, port] = process.argv.slice(2) as [string, string]
const say = (line: object) => writeSync(1, `${JSON.stringify(line)}\n`)
const namespace = 'shared'

const node = await startNode({ dataDir, listen: [`/ip4/127.0.0.1/tcp/${port}`] })
const { artifact, namespace: namespaces } = node.client
// Killed later, it would keep nothing of what it has compiled.
flushCompileCache()
say({ started: node.did })
for await (const line of createInterface(process.stdin)) {
  const command = JSON.parse(line) as MemberCommand
  try {
    say({ done: command.do, result: await perform(command) })
  } catch (error) {
    say({ done: command.do, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }
}
await node.close()

async function perform(command: MemberCommand): Promise<unknown> {
  switch (command.do) {
    case 'create':
      await namespaces.create({ name: namespace })
      return await namespaces.ticket({ namespace })
    case 'grant':
      for (const agent of command.agents) await namespaces.grant({ namespace, agent, role: 'writer' })
      return await namespaces.ticket({ namespace })
    case 'join':
      // On a machine that is busy an address may not answer in time.
      return await namespaces.join({ ticket: command.ticket, wait: true })
    case 'work':
      return await work(command.steps, command.seed)
    case 'state': {
      const { namespaces: all } = await node.status()
      const items = await Array.fromAsync(artifact.list({ namespace }))
      return { logHash: all.find(({ name }) => name === namespace)?.logHash, list: items.map(named).sort() }
    }
    case 'read': {
      let read = 0
      for await (const { id, sha256 } of artifact.list({ namespace })) {
        const hash = createHash('sha256')
          .update(await artifact.download({ artifactId: id }))
          .digest('hex')
        if (hash !== sha256) throw new Error(`${id} is not what it should be`)
        read += 1
      }
      return read
    }
  }
}

async function work(steps: number, seed: number): Promise<void> {
  const random = numbers(seed)
  for (let step = 0; step < steps; step++) {
    const data = seededBytes(`${seed} ${step}`, Math.floor(random() ** 4 * 300_000))
    const items = (await artifact.list({ namespace, limit: 50 })).items
    const chosen = items[Math.floor(random() * items.length)]
    const kind = random()
    try {
      if (chosen === undefined || kind < 0.5) {
        say({ wrote: named(await artifact.create({ namespace, name: `${seed} ${step}`, data })) })
      } else if (kind < 0.9) {
        say({ wrote: named(await artifact.update({ artifactId: chosen.id, data })) })
      } else {
        // Said before, too: a kill may come between the deletion and its acknowledgement.
        say({ deleting: chosen.id })
        await artifact.delete({ artifactId: chosen.id })
      }
    } catch (error) {
      // Somebody deleted it meanwhile.
      if (!isHubError(error, 'NOT_FOUND')) throw error
    }
  }
}

function named({ id, versionId, sha256 }: Artifact): string {
  return `${id} ${versionId} ${sha256}`
}
