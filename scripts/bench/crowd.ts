import { alone, atMost, type Figure, median, type Unit } from './figures.ts'
import type { Section } from './section.ts'
import { admit, type Member, startFounder, startMember } from './team.ts'

const idle = undefined as never
const perSecond = 5

/** Many nodes that write in one namespace at the same time. */
export const crowd: Section = {
  name: 'crowd',
  run: async (bench) => {
    const { members: count, seconds } = bench.settings.crowd
    const founder = await startFounder(bench)
    const others: Member[] = []
    while (others.length < count - 1) others.push(await startMember(bench))
    await admit(founder, others, 'writer')
    const members = [founder, ...others]
    bench.say(`crowd: ${count} nodes have joined`)
    const restingBytes = await rssOf(members)
    const halves: Awaited<ReturnType<typeof rssOf>>[] = []
    let lastMs = 0
    const cpuBefore = await cpuOf(members)
    let expected = 0
    for (let half = 0; half < 2; half++) {
      const done = await Promise.all(
        members.map(async ({ jobs }) => {
          const { result } = await jobs.run('writeSteadily', { perSecond, seconds: seconds / 2 })
          lastMs = performance.now()
          return result
        }),
      )
      expected += done.reduce((sum, one) => sum + one, 0)
      if (half === 0) halves.push(await rssOf(members))
    }
    const lags = await Promise.all(
      members.map(async ({ jobs }) => {
        await jobs.run('awaitArtifacts', expected)
        return performance.now() - lastMs
      }),
    )
    halves.push(await rssOf(members))
    const cpuMs = (await cpuOf(members)) - cpuBefore
    for (const member of members) await member.close()
    const figure = (what: string, unit: Unit, value: number): Figure => ({
      contender: 'artifact-hub',
      what,
      unit,
      runs: [value],
    })
    const slowest = figure('all have all of it, after the last write', 's', Math.max(...lags) / 1e3)
    const grown = (halves[1]?.median ?? Number.NaN) / (halves[0]?.median ?? Number.NaN)
    const growth = figure('resident memory of a node, end to half-time, median', '', grown)
    const rows = [
      [slowest, atMost(2, 's')],
      [growth, atMost(1.15, '')],
      [figure('resident memory of a node before, median', 'MB', restingBytes.median / 1e6)],
      [figure('resident memory of a node at the end, median', 'MB', (halves[1]?.median ?? Number.NaN) / 1e6)],
      [figure('resident memory of a node at the end, largest', 'MB', (halves[1]?.largest ?? Number.NaN) / 1e6)],
      [figure('processor time of all, for each entry that a node takes in', 'ms', cpuMs / (expected * (count - 1)))],
    ] as const
    return {
      title: `${count} nodes in one namespace, processes on one machine, each writing ${perSecond}/s for ${seconds} s`,
      rows: rows.map(([one, target]) => alone(one, target)),
      figures: rows.map(([one]) => one),
      notes: [
        `${expected.toLocaleString('en-US')} artifacts, each listed on every node; writes do not wait for the ones before`,
        'half-time and end are moments of quiet, when everything written so far has been written, on its own node',
      ],
    }
  },
}

async function rssOf(members: readonly Member[]): Promise<{ median: number; largest: number }> {
  const all = await Promise.all(members.map(async ({ jobs }) => (await jobs.run('rss', idle)).result))
  return { median: median(all), largest: Math.max(...all) }
}

async function cpuOf(members: readonly Member[]): Promise<number> {
  const all = await Promise.all(members.map(async ({ jobs }) => (await jobs.run('cpu', idle)).result))
  return all.reduce((sum, one) => sum + one, 0)
}
