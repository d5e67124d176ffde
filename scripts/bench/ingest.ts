import { available, type Contender, copy, helia, hub, hubCommand, restic, type Work } from './contenders.ts'
import { against, alone, atLeastTimes, type Figure, type Unit } from './figures.ts'
import { settledBytes, settleMachine, warmPageCache } from './programs.ts'
import { inRounds, type Section } from './section.ts'

/** A large random file in, from the call to its return. */
export const ingest: Section = {
  name: 'ingest',
  run: async ({ settings, workspace, largeFile, say }) => {
    const { fileBytes, runs } = settings
    const file = await largeFile()
    const contenders = await available([hub, restic, helia, copy, hubCommand])
    const done = new Map<Contender, Work[]>(contenders.map((one) => [one, []]))
    await inRounds(runs, contenders, async (contender, round) => {
      const folder = workspace.newPath('store')
      const store = await contender.open(folder)
      await warmPageCache(file)
      await settleMachine(workspace.newPath('scratch'), settledBytes(fileBytes))
      const work = await store.put(file)
      await store.close()
      await workspace.remove(folder)
      done.get(contender)?.push(work)
      say(`ingest ${round + 1}/${runs} ${contender.name}: ${(work.ms / 1000).toFixed(2)} s`)
    })
    return {
      title: `Ingest of a ${fileBytes / 2 ** 20} MiB random file, from the call to its return`,
      ...transferRows('ingest', fileBytes, done, { restic: 2.5, helia: 2.5, copy: 0.4 }),
      notes: [
        'the file is in the page cache for everybody; a new store each time, its making not counted (nor the start of the workers that a node of ours has ready after a second); all dirty pages are written out and free memory is touched before each',
        ...contenders.map(({ name, guarantees }) => `${name}: ${guarantees}`),
      ],
    }
  },
}

/** Rates and memory of a transfer, ours held against each of the others. */
export function transferRows(
  what: string,
  bytes: number,
  done: ReadonlyMap<Contender, readonly Work[]>,
  factors: { readonly restic: number; readonly helia: number; readonly copy: number },
): { rows: ReturnType<typeof against>[]; figures: Figure[] } {
  const figure = (contender: Contender, name: string, unit: Unit, of: (work: Work) => number): Figure | undefined => {
    const work = done.get(contender)
    return work && { contender: contender.name, what: name, unit, runs: work.map(of) }
  }
  const rate = (contender: Contender) => figure(contender, what, 'MB/s', ({ ms }) => bytes / 1e3 / ms)
  const memory = (contender: Contender) =>
    figure(contender, `${what}, peak resident memory`, 'MB', ({ peakRssBytes }) => peakRssBytes / 1e6)
  const rivals: [Contender, number | undefined][] = [
    [restic, factors.restic],
    [helia, factors.helia],
    [copy, factors.copy],
  ]
  const rows: ReturnType<typeof against>[] = []
  const ours = rate(hub) as Figure
  const ourMemory = memory(hub) as Figure
  for (const [rival, factor] of rivals) {
    const theirs = rate(rival)
    if (theirs !== undefined) rows.push(against(ours, theirs, factor === undefined ? undefined : atLeastTimes(factor)))
  }
  const command = figure(hubCommand, `${what}, whole process`, 'MB/s', ({ ms }) => bytes / 1e3 / ms)
  if (command !== undefined) {
    const theirs = rate(restic)
    rows.push(theirs === undefined ? alone(command) : against(command, theirs))
  }
  for (const [rival] of rivals) {
    const theirs = memory(rival)
    if (theirs !== undefined && rival !== copy) rows.push(against(ourMemory, theirs))
  }
  const figures = [...done.keys()].flatMap((one) => [rate(one) as Figure, memory(one) as Figure])
  return { rows, figures }
}
