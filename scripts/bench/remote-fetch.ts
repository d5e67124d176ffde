import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import type { BitswapJobs } from './bitswap-process.ts'
import { against, alone, atLeastTimes, atMost, type Figure, type Unit } from './figures.ts'
import { JobProcess } from './job-process.ts'
import { assertSame, writeEdited } from './large-files.ts'
import { settledBytes, settleMachine, warmPageCache } from './programs.ts'
import type { RawStreamJobs } from './raw-stream-process.ts'
import { type Bench, inRounds, type Section } from './section.ts'
import { admit, startFounder, startMember } from './team.ts'

const MiB = 2 ** 20
const idle = undefined as never
const ours = 'artifact-hub'
/** iroh-blobs is not installed where this runs: what it did on another day on a machine with 2 such cores, MB/s. */
const irohRecorded = 83

type Note = (contender: string, what: string, unit: Unit, value: number) => void

/** A large artifact from another process on this machine. */
export const remoteFetch: Section = {
  name: 'fetch',
  run: async (bench) => {
    const { settings, workspace, say } = bench
    const { fileBytes, runs } = settings
    const source = await bench.largeFile()
    const edited = workspace.newPath('edited.bin')
    await writeEdited(source, edited, fileBytes)
    const sha256 = await sha256Of(source)
    const figures = new Map<string, { contender: string; what: string; unit: Unit; runs: number[] }>()
    const note: Note = (contender, what, unit, value) => {
      const figure = figures.get(contender + what) ?? { contender, what, unit, runs: [] }
      figures.set(contender + what, figure)
      figure.runs.push(value)
    }
    const contenders: { name: string; turn: () => Promise<void> }[] = [
      { name: ours, turn: () => fetchOurs(bench, source, edited, note) },
      { name: 'Helia bitswap', turn: () => fetchBitswap(bench, source, note) },
      { name: 'raw libp2p stream', turn: () => fetchRaw(bench, source, sha256, note) },
    ]
    await inRounds(runs, contenders, async ({ name, turn }, round) => {
      await warmPageCache(source)
      await turn()
      say(`fetch ${round + 1}/${runs}: ${name}`)
    })
    const figure = (contender: string, what: string): Figure => figures.get(contender + what) as Figure
    const stored = figure(ours, 'fetched into the store')
    const iroh: Figure = { contender: 'iroh-blobs, recorded', what: stored.what, unit: 'MB/s', runs: [irohRecorded] }
    return {
      title: `${fileBytes / MiB} MiB from another node, two processes on loopback`,
      rows: [
        against(stored, figure('Helia bitswap', stored.what), atLeastTimes(3)),
        against(stored, iroh, atLeastTimes(1.5)),
        against(stored, figure('raw stream, our TLS, SHA-256', 'received'), atLeastTimes(0.85)),
        against(stored, figure('raw stream, our TLS, SHA-256, file, fsync', 'received'), atLeastTimes(0.85)),
        against(stored, figure('raw stream, @libp2p/tls, SHA-256', 'received')),
        against(stored, figure('raw stream, noise, SHA-256', 'received')),
        against(figure(ours, 'fetched into a file'), figure('Helia bitswap', stored.what)),
        against(
          figure(ours, 'fetch, processor time of both'),
          figure('raw stream, our TLS, SHA-256, file, fsync', 'processor time of both'),
        ),
        against(
          figure(ours, 'fetch, processor time of both'),
          figure('Helia bitswap', 'fetch, processor time of both'),
        ),
        alone(figure(ours, 'fetch, peak resident memory, asker')),
        alone(figure(ours, 'fetch, peak resident memory, provider')),
        alone(figure(ours, 'version 2, ten edits, when version 1 is held: moved'), atMost(40, 'MiB')),
        alone(figure(ours, 'first byte, connected'), atMost(150, 'ms')),
      ],
      figures: [...figures.values()],
      notes: [
        'artifact-hub: ciphertext over TLS; every block verified on arrival, in packs, fsynced; “into a file” is downloadFile of what is not held: that, decrypted, in a new file',
        'Helia: noise + yamux, blockstore-fs, which never fsyncs; not encrypted at rest; the file is read whole and thrown away',
        'raw stream: 1 MiB pieces of the file through libp2p’s yamux with its defaults; hashed, and thrown away or written to a file; our TLS is what our nodes use, on the system’s socket',
        `iroh-blobs does not run here: ${irohRecorded} MB/s is what it did on another day on another machine of 2 cores`,
      ],
    }
  },
}

/**
 * Right before each fetch: what was uploaded for it took the memory that was there at the start, and a fetch that writes would pay for the
 * return of more, beside one that throws away what it gets.
 */
async function settle({ workspace, settings }: Bench): Promise<void> {
  await settleMachine(workspace.newPath('scratch'), settledBytes(settings.fileBytes))
}

async function fetchOurs(bench: Bench, source: string, edited: string, note: Note): Promise<void> {
  const { workspace, settings } = bench
  const { fileBytes } = settings
  const a = await startFounder(bench)
  const { result: artifactId } = await a.jobs.run('upload', source)
  const [b, c] = [await startMember(bench), await startMember(bench)]
  await admit(a, [b, c], 'reader')
  for (const member of [b, c]) await member.jobs.run('awaitVersion', { artifactId, version: 1 })

  await settle(bench)
  const before = await a.jobs.run('cpu', idle)
  const { ms, cpuMs, peakRssBytes } = await b.jobs.run('fetchAll', idle)
  const after = await a.jobs.run('cpu', idle)
  note(ours, 'fetched into the store', 'MB/s', fileBytes / 1e3 / ms)
  note(ours, 'fetch, processor time of both', 's', (cpuMs + after.result - before.result) / 1e3)
  note(ours, 'fetch, peak resident memory, asker', 'MB', peakRssBytes / 1e6)
  note(ours, 'fetch, peak resident memory, provider', 'MB', after.peakRssBytes / 1e6)
  const held = workspace.newPath('held.bin')
  await b.jobs.run('download', { artifactId, path: held })
  await assertSame(source, held)
  await workspace.remove(held)

  const { result: served } = await a.jobs.run('servedBytes', idle)
  await a.jobs.run('update', { artifactId, path: edited })
  await b.jobs.run('awaitVersion', { artifactId, version: 2 })
  const second = workspace.newPath('second.bin')
  await b.jobs.run('download', { artifactId, path: second })
  await assertSame(edited, second)
  await workspace.remove(second)
  const { result: servedThen } = await a.jobs.run('servedBytes', idle)
  note(ours, 'version 2, ten edits, when version 1 is held: moved', 'MiB', (servedThen - served) / MiB)
  await b.close()

  await c.jobs.run('awaitVersion', { artifactId, version: 2 })
  note(ours, 'first byte, connected', 'ms', (await c.jobs.run('firstByte', artifactId)).result)
  await c.close()

  const d = await startMember(bench)
  await admit(a, [d], 'reader')
  await d.jobs.run('awaitVersion', { artifactId, version: 2 })
  const path = workspace.newPath('fetched.bin')
  await settle(bench)
  note(ours, 'fetched into a file', 'MB/s', fileBytes / 1e3 / (await d.jobs.run('download', { artifactId, path })).ms)
  await assertSame(edited, path)
  await workspace.remove(path)
  await d.close()
  await a.close()
}

async function fetchBitswap(bench: Bench, source: string, note: Note): Promise<void> {
  const { workspace, settings } = bench
  const start = () => new JobProcess<BitswapJobs>(new URL('./bitswap-process.ts', import.meta.url))
  const folders = [workspace.newPath('helia-a'), workspace.newPath('helia-b')] as const
  const [a, b] = [start(), start()]
  const { result: address } = await a.run('open', folders[0])
  await b.run('open', folders[1])
  const { result: cid } = await a.run('add', source)
  await b.run('connect', address)
  await settle(bench)
  const before = await a.run('cpu', idle)
  const { result: length, ms, cpuMs } = await b.run('fetch', cid)
  const after = await a.run('cpu', idle)
  if (length !== settings.fileBytes) throw new Error(`Helia fetched ${length} bytes`)
  note('Helia bitswap', 'fetched into the store', 'MB/s', length / 1e3 / ms)
  note('Helia bitswap', 'fetch, processor time of both', 's', (cpuMs + after.result - before.result) / 1e3)
  for (const process of [b, a]) {
    await process.run('close', idle)
    await process.close()
  }
  for (const folder of folders) await workspace.remove(folder)
}

async function fetchRaw(bench: Bench, source: string, sha256: string, note: Note): Promise<void> {
  const { workspace, settings } = bench
  for (const encryption of ['our TLS', '@libp2p/tls', 'noise'] as const) {
    const start = () => new JobProcess<RawStreamJobs>(new URL('./raw-stream-process.ts', import.meta.url))
    const [a, b] = [start(), start()]
    const { result: address } = await a.run('open', encryption)
    await b.run('open', encryption)
    await a.run('serve', source)
    await b.run('connect', address)
    for (const path of encryption === 'our TLS' ? [undefined, workspace.newPath('raw.bin')] : [undefined]) {
      await settle(bench)
      const before = await a.run('cpu', idle)
      const { result, ms, cpuMs } = await b.run('receive', { address, path })
      const after = await a.run('cpu', idle)
      if (result !== sha256) throw new Error('the raw stream brought other bytes')
      const name = `raw stream, ${encryption}, SHA-256${path === undefined ? '' : ', file, fsync'}`
      note(name, 'received', 'MB/s', settings.fileBytes / 1e3 / ms)
      note(name, 'processor time of both', 's', (cpuMs + after.result - before.result) / 1e3)
      if (path !== undefined) await workspace.remove(path)
    }
    for (const process of [b, a]) {
      await process.run('close', idle)
      await process.close()
    }
  }
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}
