import { mkdir } from 'node:fs/promises'
import { available, type Contender, copy, helia, hub, hubCommand, restic, type Work } from './contenders.ts'
import { transferRows } from './ingest.ts'
import { assertSame } from './large-files.ts'
import { settledBytes, settleMachine, warmPageCache } from './programs.ts'
import { inRounds, type Section } from './section.ts'

/** The large file out of each store again, to a new file, which is then compared with the source. */
export const readBack: Section = {
  name: 'read-back',
  run: async ({ settings, workspace, largeFile, say }) => {
    const { fileBytes, runs } = settings
    const file = await largeFile()
    const stores: { contender: Contender; folder: string; ref: string; done: Work[] }[] = []
    for (const contender of await available([hub, restic, helia, copy, hubCommand])) {
      const folder = workspace.newPath('store')
      const store = await contender.open(folder)
      const { ref } = await store.put(file)
      await store.close()
      stores.push({ contender, folder, ref, done: [] })
    }
    await inRounds(runs, stores, async ({ contender, folder, ref, done }, round) => {
      const into = workspace.newPath('out')
      await mkdir(into)
      const store = await contender.open(folder)
      await warmPageCache(folder)
      await settleMachine(workspace.newPath('scratch'), settledBytes(fileBytes))
      const work = await store.get(ref, into)
      await store.close()
      await assertSame(file, work.path)
      await workspace.remove(into)
      done.push(work)
      say(`read-back ${round + 1}/${runs} ${contender.name}: ${(work.ms / 1000).toFixed(2)} s`)
    })
    for (const { folder } of stores) await workspace.remove(folder)
    const done = new Map(stores.map(({ contender, done }) => [contender, done]))
    return {
      title: `The same ${fileBytes / 2 ** 20} MiB out to a new file, every byte verified`,
      ...transferRows('read back', fileBytes, done, { restic: 2.5, helia: 5, copy: 0.4 }),
      notes: [
        'what a store holds is in the page cache for everybody; a process of its own and a reopened store each time, which have been there for a second or more; nobody fsyncs the output',
        'each output is compared with the source, outside the time; a run with a wrong byte fails the bench',
      ],
    }
  },
}
