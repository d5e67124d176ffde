import { alone, atMost, type Target, type Unit } from './figures.ts'
import type { Section } from './section.ts'
import { openSealedKeys, rotateGroup, shareWithMany } from './sharing-core.ts'

/** Keys sealed to one agent, of as many artifacts; what their number is held against when it is to be linear. */
const manyKeys = 10_000
const fewerKeys = 2_500
/** Agents that one artifact is shared with. */
const manyAgents = [1_000, 5_000] as const
const manyMembers = [1_000, 10_000] as const

/** What sealing keys to many, and opening many, costs: the core alone, in this process. */
export const sealing: Section = {
  name: 'sealing',
  run: async (bench) => {
    const { settings, say } = bench
    const found = new Map<string, { runs: number[]; target: Target | undefined; unit: Unit }>()
    const note = (what: string, value: number, target?: Target, unit: Unit = 'ms') => {
      const { runs } = found.get(what) ?? { runs: [] }
      found.set(what, { runs: [...runs, value], target, unit })
    }
    for (let run = 0; run < settings.runs; run++) {
      say(`sealing: run ${run + 1} of ${settings.runs}`)
      const fewer = await openSealedKeys(bench, fewerKeys)
      const all = await openSealedKeys(bench, manyKeys)
      note(`open ${inText(manyKeys)} sealed keys at start`, all.openMs + all.keysMs, atMost(1_500, 'ms'))
      const timesMore = (all.openMs + all.keysMs) / (fewer.openMs + fewer.keysMs) / (manyKeys / fewerKeys)
      const what = `open sealed keys, time for one: ${inText(manyKeys)} to ${inText(fewerKeys)}`
      note(what, timesMore, atMost(1.5, ''), '')
      for (const members of manyMembers) {
        const target = members === 1_000 ? atMost(1_000, 'ms') : undefined
        note(`a group of ${inText(members)} rotates`, await rotateGroup(bench, members), target)
      }
      for (const agents of manyAgents) {
        const text = inText(agents)
        const many = await shareWithMany(bench, agents)
        note(`share with ${text} agents`, many.shareMs)
        note(`share what ${text} agents read with one more`, many.oneMoreMs)
        note(`unshare 1 of ${text}`, many.unshareMs)
        note(`update of what ${text} agents read`, many.updateMs)
        note(`update of what ${text} agents read, a fresh key`, many.freshKeyMs)
      }
    }
    const rows = [...found].map(([what, { unit, runs, target }]) => ({
      figure: { contender: 'artifact-hub', what, unit, runs },
      target,
    }))
    return {
      title: 'Sealed keys, groups and artifacts that many read: the core alone, in one process',
      rows: rows.map(({ figure, target }) => alone(figure, target)),
      figures: rows.map(({ figure }) => figure),
      notes: ['of a group one member is removed, and all others are sealed the next epoch'],
    }
  },
}

function inText(count: number): string {
  return count.toLocaleString('en-US')
}
