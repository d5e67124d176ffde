import { stat } from 'node:fs/promises'
import { available, type Contender, type FileStore, helia, hub, restic } from './contenders.ts'
import { against, alone, atMost, type Figure, type Row } from './figures.ts'
import { writeAppended, writeEdited, writeInserted } from './large-files.ts'
import { settledBytes, settleMachine, warmPageCache, writeOutDirtyPages } from './programs.ts'
import { inRounds, type Section } from './section.ts'
import { diskBytes, type Workspace } from './workspace.ts'

const MiB = 2 ** 20
const appendedBytes = 64 * MiB
const maxTimeShare = 0.75

/** One way in which the next version differs, and how much more it may store. */
interface Change {
  readonly name: string
  readonly maxStoredMiB: number
  readonly write: (base: string, path: string, bytes: number) => Promise<void>
}

const changes: readonly Change[] = [
  { name: '1 % edited in 10 places', maxStoredMiB: 36, write: writeEdited },
  { name: '1 byte inserted near the front', maxStoredMiB: 3, write: writeInserted },
  { name: '64 MiB appended', maxStoredMiB: 67, write: (base, path) => writeAppended(base, path, appendedBytes) },
]

/** A way to store the first version and then the next ones. */
interface Entrant {
  readonly name: string
  readonly contender: Contender
  /** Whether the process that stored the first version is gone when the next one comes. */
  readonly restarts: boolean
  readonly results: Map<Change, { storedMiB: number[]; timeShare: number[] }>
}

/** The next version of the large file: what it takes on the disk, and in time relative to the first. */
export const secondVersion: Section = {
  name: 'second-version',
  run: async ({ settings, workspace, largeFile, say }) => {
    const { fileBytes, runs } = settings
    const base = await largeFile()
    const paths = new Map<Change, string>()
    for (const change of changes) {
      const path = workspace.newPath('version-2.bin')
      await change.write(base, path, fileBytes)
      paths.set(change, path)
    }
    const entrants = (await available([hub, restic, helia])).map((contender) =>
      entrant(contender.name, contender, contender === restic),
    )
    const restarted = entrant(`${hub.name}, restarted between`, hub, true)
    await inRounds(runs, [...entrants, restarted], async (one, round) => {
      await measure(one, base, paths, workspace)
      say(`second-version ${round + 1}/${runs} ${one.name}`)
    })
    for (const path of paths.values()) await workspace.remove(path)
    const rows = changes.flatMap((change) => rowsOf(change, entrants, restarted))
    return {
      title: `The next version of a ${fileBytes / MiB} MiB file`,
      rows,
      figures: [...entrants, restarted].flatMap((one) =>
        changes.flatMap((change) => [storedBy(one, change), shareOf(one, change)]),
      ),
      notes: [
        'stored: growth of the whole store on the disk (du), index and log with it; time: the next version’s over the first’s of the same run',
        'the bounds on what is stored are for 1 GiB',
        'restarted between: a node that was started anew knows what it wrote down of the version before; restic is a new process each time anyway',
      ],
    }
  },
}

function entrant(name: string, contender: Contender, restarts: boolean): Entrant {
  return {
    name,
    contender,
    restarts,
    results: new Map(changes.map((change) => [change, { storedMiB: [], timeShare: [] }])),
  }
}

async function measure(
  one: Entrant,
  base: string,
  paths: ReadonlyMap<Change, string>,
  workspace: Workspace,
): Promise<void> {
  const { contender, restarts, results } = one
  const folder = workspace.newPath('store')
  let store = await contender.open(folder)
  const settled = async (path: string): Promise<FileStore> => {
    await warmPageCache(path)
    await settleMachine(workspace.newPath('scratch'), settledBytes((await stat(path)).size))
    return store
  }
  const first = await (await settled(base)).put(base)
  for (const [change, path] of paths) {
    if (restarts) {
      await store.close()
      store = await contender.open(folder)
    }
    const ready = await settled(path)
    const before = await diskBytes(folder)
    const next = await ready.put(path, first.ref)
    await writeOutDirtyPages()
    const result = results.get(change)
    result?.storedMiB.push(((await diskBytes(folder)) - before) / MiB)
    result?.timeShare.push(next.ms / first.ms)
  }
  await store.close()
  await workspace.remove(folder)
}

function rowsOf(change: Change, entrants: readonly Entrant[], restarted: Entrant): Row[] {
  const [ours, ...others] = entrants as [Entrant, ...Entrant[]]
  const timeTarget = atMost(maxTimeShare, '')
  return [
    alone(storedBy(ours, change), atMost(change.maxStoredMiB, 'MiB')),
    ...others.map((other) => against(storedBy(ours, change), storedBy(other, change))),
    alone(shareOf(ours, change), timeTarget),
    alone(
      { ...shareOf(restarted, change), what: `${shareOf(restarted, change).what}, node restarted between` },
      timeTarget,
    ),
    ...others.map((other) => against(shareOf(ours, change), shareOf(other, change))),
  ]
}

function storedBy({ name, results }: Entrant, change: Change): Figure {
  return { contender: name, what: `${change.name}, stored`, unit: 'MiB', runs: results.get(change)?.storedMiB ?? [] }
}

function shareOf({ name, results }: Entrant, change: Change): Figure {
  return {
    contender: name,
    what: `${change.name}, time over the first’s`,
    unit: '',
    runs: results.get(change)?.timeShare ?? [],
  }
}
