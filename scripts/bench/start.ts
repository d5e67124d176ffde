import { helia, hub } from './contenders.ts'
import { against, type Figure } from './figures.ts'
import { writeOutDirtyPages } from './programs.ts'
import { inRounds, type Section } from './section.ts'

/** From the start of a process to a running node: on a new data directory, and on one that is there. */
export const start: Section = {
  name: 'start',
  run: async ({ settings, workspace, say }) => {
    const { runs } = settings
    const measured = [hub, helia].map((contender) => ({ contender, first: [] as number[], again: [] as number[] }))
    await inRounds(runs, measured, async ({ contender, first, again }, round) => {
      const folder = workspace.newPath('store')
      for (const times of [first, again]) {
        await writeOutDirtyPages()
        const startedMs = performance.now()
        const store = await contender.open(folder)
        times.push(performance.now() - startedMs)
        await store.close()
      }
      await workspace.remove(folder)
      say(`start ${round + 1}/${runs} ${contender.name}`)
    })
    const figures = measured.map(({ contender, first, again }): [Figure, Figure] => [
      { contender: contender.name, what: 'start on a new folder', unit: 'ms', runs: first },
      { contender: contender.name, what: 'start on the same folder again', unit: 'ms', runs: again },
    ])
    const [ours, theirs] = figures as [[Figure, Figure], [Figure, Figure]]
    return {
      title: 'Start of a process with a node in it',
      rows: [against(ours[0], theirs[0]), against(ours[1], theirs[1])],
      figures: figures.flat(),
      notes: [
        'Node’s own start and the loading of all modules included; Helia without libp2p; ours makes identity and namespace the first time',
      ],
    }
  },
}
