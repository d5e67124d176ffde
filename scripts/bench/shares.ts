import { alone, atMost, type Figure, type Target, type Unit } from './figures.ts'
import { JobProcess } from './job-process.ts'
import type { Bench, Section } from './section.ts'
import type { ShareJobs } from './share-process.ts'

const idle = undefined as never
/** Calls of each kind, one after the other. */
const samples = 100
/** Pages of each kind of list. */
const pages = 20
/** Shares of one namespace with one agent, of as many artifacts. */
const manyShares = 10_000

/** What sharing costs: who shares and whom it is shared with in processes of their own, on loopback. */
export const shares: Section = {
  name: 'shares',
  run: async (bench) => {
    const { say } = bench
    const found = new Map<string, { unit: Unit; target: Target | undefined; runs: readonly number[] }>()
    const note = (what: string, runs: readonly number[], target?: Target, unit: Unit = 'ms') => {
      found.set(what, { unit, target, runs })
    }
    const sharer = await Node.start(bench)
    const recipient = await Node.start(bench)
    await sharer.know('recipient', recipient)
    await recipient.know('sharer', sharer)
    await sharer.jobs.run('meet', 'recipient')
    const { result: ids } = await sharer.jobs.run('write', manyShares)
    const { result: others } = await sharer.jobs.run('write', 2 * samples)
    say(`shares: ${manyShares} artifacts written`)
    const count = manyShares.toLocaleString('en-US')
    const agent = 'recipient'
    const first = await sharer.jobs.run('shareAndUnshare', { ids: others.slice(0, samples), agent })
    note('share with 1 agent', first.result.shared, atMost(15, 'ms'))
    note('unshare', first.result.unshared, atMost(15, 'ms'))
    await recipient.jobs.run('expectShared', ids)
    const startedMs = performance.now()
    const [sharing, following] = await Promise.all([
      sharer.jobs.run('shareAll', { ids, agent }),
      recipient.jobs.run('awaitShared', idle),
    ])
    note(`${count} shared, until the recipient can read all`, [(performance.now() - startedMs) / 1e3], undefined, 's')
    note(`${count} shared, until all are written`, [sharing.ms / 1e3], undefined, 's')
    note(`${count} shared, processor time of the sharer until then`, [sharing.cpuMs / 1e3], undefined, 's')
    note(`${count} shared, processor time of the recipient`, [following.cpuMs / 1e3], undefined, 's')
    say(`shares: ${manyShares} shared`)
    const then = await sharer.jobs.run('shareAndUnshare', { ids: others.slice(samples), agent })
    note(`share with 1 agent, ${count} shared`, then.result.shared, atMost(15, 'ms'))
    note(`unshare, ${count} shared`, then.result.unshared, atMost(15, 'ms'))
    for (const [what, node, by, filter] of [
      ['shared with me', recipient, 'others', false],
      ['shared with me, by metadata', recipient, 'others', true],
      ['shared by me', sharer, 'me', false],
      ['shared by me, by metadata', sharer, 'me', true],
    ] as const) {
      const { result } = await node.jobs.run('pages', { by, filter, count: filter ? pages / 2 : pages })
      // The first of what is shared by me opens all of it.
      if (by === 'me' && !filter) note(`the first page of 100 of ${count} ${what}`, result.slice(0, 1))
      note(`a page of 100 of ${count} ${what}`, result.slice(1), atMost(10, 'ms'))
    }
    const { result: access } = await sharer.jobs.run('access', ids.slice(0, samples))
    note('who has access', access, atMost(5, 'ms'))
    await recipient.close({ isKept: true })
    const opened = await recipient.reopen()
    note(`a node with ${count} shares starts`, [opened])
    await recipient.close()
    await sharer.close()
    const figures = [...found].map(
      ([what, { unit, runs }]): Figure => ({ contender: 'artifact-hub', what, unit, runs }),
    )
    return {
      title: 'Shares, two processes on loopback',
      rows: figures.map((figure) => alone(figure, found.get(figure.what)?.target)),
      figures,
      notes: [
        `share, unshare, access: medians of ${samples} calls, one after the other, each durable when it returns; pages: of the second on, in the order of creation`,
      ],
    }
  },
}

/** A node in a process of its own. */
class Node {
  readonly jobs: JobProcess<ShareJobs>
  readonly #dataDir: string
  readonly #workspace: Bench['workspace']

  private constructor(workspace: Bench['workspace']) {
    this.#workspace = workspace
    this.#dataDir = workspace.newPath('node')
    this.jobs = new JobProcess<ShareJobs>(new URL('./share-process.ts', import.meta.url))
  }

  static async start({ workspace }: Bench): Promise<Node> {
    const node = new Node(workspace)
    await node.jobs.run('open', { dataDir: node.#dataDir, isOnline: true })
    return node
  }

  async know(name: string, other: Node): Promise<void> {
    const { result: ticket } = await other.jobs.run('ticket', idle)
    await this.jobs.run('know', { name, ticket })
  }

  /** Milliseconds to start it again, without a network. */
  async reopen(): Promise<number> {
    return (await this.jobs.run('open', { dataDir: this.#dataDir, isOnline: false })).ms
  }

  async close({ isKept = false }: { isKept?: boolean } = {}): Promise<void> {
    await this.jobs.run('close', idle)
    if (isKept) return
    await this.jobs.close()
    await this.#workspace.remove(this.#dataDir)
  }
}
