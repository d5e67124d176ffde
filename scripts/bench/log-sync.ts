import { formatDid } from '../../src/identity/index.ts'
import { alone, atMost, type Figure, median, type Target, type Unit } from './figures.ts'
import { watchAnonymous, writeOutDirtyPages } from './programs.ts'
import type { Bench, Section } from './section.ts'
import { noOpRound, probeAgent } from './sync-probe.ts'
import { admit, type Member, startFounder, startMember } from './team.ts'

const idle = undefined as never
/** Snippets written one after the other, each when the one before could be read. */
const tellSamples = 200
/** What the target of the cold sync is for; what OrbitDB needs for as many. */
const targetArtifacts = 10_000
const orbitDbSeconds = 62

/** A namespace of small artifacts between two processes. */
export const logSync: Section = {
  name: 'sync',
  run: async (bench) => {
    const { settings, say } = bench
    const found = new Map<string, { unit: Unit; target: Target | undefined; runs: number[] }>()
    const note = (what: string, unit: Unit, value: number, target?: Target) => {
      const figure = found.get(what) ?? { unit, target, runs: [] }
      found.set(what, figure)
      figure.runs.push(value)
    }
    const sizes = sizesUpTo(settings.artifacts)
    let founder = await startFounder(bench)
    let written = 0
    for (const size of sizes) {
      await founder.jobs.run('writeSmall', size - written)
      written = size
      // What writing took would hide what serving takes.
      founder = await founder.restarted()
      // The largest ones once: they take long, and what they are to show is how they compare with the smaller.
      for (let run = 0; run < (size <= targetArtifacts ? settings.runs : 1); run++) {
        await writeOutDirtyPages()
        const { ms, cpuMs, peakRssBytes, peakAnonymousBytes, servingPeakRssBytes, servingPeakAnonymousBytes } =
          await coldSync(bench, founder, size)
        const name = coldSyncOf(size)
        note(name, 's', ms / 1e3, size === targetArtifacts ? atMost(4, 's') : undefined)
        note(`${name}, a thousand`, 's', ms / size)
        note(`${name}, processor time of both for a thousand`, 's', cpuMs / size)
        note(`${name}, peak resident memory of the new member`, 'MB', peakRssBytes / 1e6)
        note(`${name}, peak anonymous memory of the new member`, 'MB', peakAnonymousBytes / 1e6)
        note(`${name}, peak resident memory of who has them`, 'MB', servingPeakRssBytes / 1e6)
        note(`${name}, peak anonymous memory of who has them`, 'MB', servingPeakAnonymousBytes / 1e6)
        say(`sync: ${name}: ${(ms / 1e3).toFixed(1)} s`)
      }
    }
    await tell(bench, founder, (ms) => note('new snippet on A readable on B', 'ms', ms, atMost(60, 'ms')))
    const probe = probeAgent()
    const { result: ticket } = await founder.jobs.run('grant', { dids: [formatDid(probe.publicKey)], role: 'reader' })
    const round = await noOpRound(probe, ticket, bench.workspace.newPath('probe'))
    note('round with nothing new, frames both ways', 'B', round.sentBytes + round.receivedBytes, atMost(1_000, 'B'))
    note('round with nothing new', 'ms', round.ms)
    await founder.close()

    const figures = [...found].map(
      ([what, { unit, runs }]): Figure => ({ contender: 'artifact-hub', what, unit, runs }),
    )
    const [smallest, largest] = [sizes[0] as number, sizes.at(-1) as number]
    /** How a figure of the largest size is to that of the smallest. */
    const growth = (of: string, most?: number) => {
      const at = (size: number) => median(found.get(`${coldSyncOf(size)}, ${of}`)?.runs ?? [])
      const what = `cold sync, ${of}: ${shown(largest)} to ${shown(smallest)}`
      const target = most === undefined || smallest < targetArtifacts ? undefined : atMost(most, '')
      return alone({ contender: 'artifact-hub', what, unit: '', runs: [at(largest) / at(smallest)] }, target)
    }
    return {
      title: `A namespace of up to ${shown(largest)} small artifacts, two processes on loopback`,
      rows: [
        ...figures.map((figure) => alone(figure, found.get(figure.what)?.target)),
        ...(smallest === largest
          ? []
          : [
              growth('a thousand', 1.1),
              growth('peak resident memory of the new member', 1.2),
              growth('peak anonymous memory of the new member', 1.2),
              growth('peak resident memory of who has them'),
              growth('peak anonymous memory of who has them', 1.2),
            ]),
      ],
      figures,
      notes: [
        `cold sync: from the call of join on a new node to all being listed there, durable; each entry’s signature checked. OrbitDB took ${orbitDbSeconds} s for 10,000 on another day on another machine of 2 cores`,
        `readable: from the call of createSnippet on A to its content read whole on B, which watches; ${tellSamples} one after the other`,
        'resident memory counts what is mapped of files too: some 65 MB of the program, and up to 50 MB of the database’s tables while LevelDB merges them, and at who sends a whole log all tables that it reads it from, which the system holds in any case and takes back when it needs the room; anonymous memory is the rest, sampled 50 times a second',
        'the bytes of a round are those of its frames; libp2p adds the choice of the protocol and the headers of yamux and TLS',
      ],
    }
  },
}

const shown = (count: number): string => count.toLocaleString('en-US')

const coldSyncOf = (artifacts: number): string => `cold sync of ${shown(artifacts)} artifacts`

function sizesUpTo(artifacts: number): number[] {
  const all = [
    artifacts <= targetArtifacts ? Math.ceil(artifacts / 5) : targetArtifacts,
    Math.ceil(artifacts / 2),
    artifacts,
  ]
  return artifacts <= targetArtifacts ? [all[0] as number, artifacts] : [...new Set(all)]
}

/** What a cold sync took. */
interface ColdSync {
  readonly ms: number
  readonly cpuMs: number
  readonly peakRssBytes: number
  readonly peakAnonymousBytes: number
  readonly servingPeakRssBytes: number
  readonly servingPeakAnonymousBytes: number
}

/** A new node joins and waits until it has everything. */
async function coldSync(bench: Bench, founder: Member, artifacts: number): Promise<ColdSync> {
  const member = await startMember(bench)
  using memory = watchAnonymous(member.jobs.pid)
  using serving = watchAnonymous(founder.jobs.pid)
  const { result: ticket } = await founder.jobs.run('grant', { dids: [member.did], role: 'reader' })
  const before = (await founder.jobs.run('cpu', idle)).result
  const joined = await member.jobs.run('join', ticket)
  const listed = await member.jobs.run('awaitArtifacts', artifacts)
  const { peakBytes: peakAnonymousBytes } = memory
  const { peakBytes: servingPeakAnonymousBytes } = serving
  const { result: after, peakRssBytes: servingPeakRssBytes } = await founder.jobs.run('cpu', idle)
  await member.close()
  return {
    ms: joined.ms + listed.ms,
    cpuMs: joined.cpuMs + listed.cpuMs + after - before,
    peakRssBytes: listed.peakRssBytes,
    peakAnonymousBytes,
    servingPeakRssBytes,
    servingPeakAnonymousBytes,
  }
}

async function tell(bench: Bench, founder: Member, note: (ms: number) => void): Promise<void> {
  const member = await startMember(bench)
  await admit(founder, [member], 'reader')
  await member.jobs.run('watch', idle)
  for (let sample = 0; sample < tellSamples; sample++) {
    const { id, at } = (await founder.jobs.run('writeOne', sample)).result
    const { result: readableAt } = await member.jobs.run('awaitReadable', id)
    note(Number(readableAt - at) / 1e6)
  }
  await member.close()
}
