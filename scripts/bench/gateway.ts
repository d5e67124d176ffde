import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { against, alone, atLeast, atLeastTimes, atMost, type Figure, type Row, type Unit } from './figures.ts'
import type { FileServerJobs } from './file-server-process.ts'
import type { GatewayJobs } from './gateway-process.ts'
import { JobProcess } from './job-process.ts'
import { run, warmPageCache } from './programs.ts'
import { type Bench, inRounds, type Section } from './section.ts'

const MiB = 2 ** 20
const smallBytes = 16 * 1024
const rangeBytes = MiB
const wrkSeconds = 5
const slowClients = 500
const slowSeconds = 20
/** What each slow client takes, bytes a second. */
const slowBytesPerSecond = 50_000

interface Served {
  readonly name: string
  readonly large: string
  readonly small?: string | undefined
  readonly download: number[]
  readonly ranges: number[]
}

/** Links over HTTP: one large download, random ranges, many small requests, many slow clients; beside plain servers. */
export const gateway: Section = {
  name: 'gateway',
  run: async (bench) => {
    const { settings, workspace, largeFile, say } = bench
    const { fileBytes, runs } = settings
    const path = await largeFile()
    const dataDir = workspace.newPath('hub')
    const [hub, bare, helia] = [gatewayProcess(), fileServerProcess(), fileServerProcess()]
    await hub.run('open', dataDir)
    const { result: ids } = await hub.run('store', { path, small: new Uint8Array(smallBytes).fill(7) })
    const served = [
      contender('artifact-hub', (await hub.run('link', ids.large)).result, (await hub.run('link', ids.small)).result),
      contender('bare Node', (await bare.run('file', path)).result),
      contender('Helia', (await helia.run('helia', { path, folder: workspace.newPath('helia') })).result),
    ]
    await warmPageCache(workspace.path)
    const hasWrk = await isThere('wrk')
    const small: number[] = []
    await inRounds(runs, served, async (one, round) => {
      const { ms } = await run('curl', ['-sS', '--fail', '-o', '/dev/null', one.large])
      one.download.push(fileBytes / 1e3 / ms)
      if (hasWrk) one.ranges.push(await wrk(bench, one.large, 32, rangeScript(fileBytes)))
      if (hasWrk && one.small !== undefined) small.push(await wrk(bench, one.small, 64))
      say(`gateway ${round + 1}/${runs} ${one.name}: ${one.download.at(-1)?.toFixed(0)} MB/s`)
    })
    await Promise.all([hub.run('close', idle), bare.run('close', idle), helia.run('close', idle)])
    await Promise.all([hub.close(), bare.close(), helia.close()])
    const slow = await slowDownloads(dataDir, ids.large)
    const [ours, node, plain] = served as [Served, Served, Served]
    const download = ({ name, download: figures }: Served): Figure =>
      figure(name, `one download of ${fileBytes / MiB} MiB`, 'MB/s', figures)
    const ranges = ({ name, ranges: figures }: Served): Figure =>
      figure(name, 'random 1 MiB ranges, 32 connections', '1/s', figures)
    const memory = figure('artifact-hub', `peak memory with ${slowClients} slow downloads`, 'MB', [slow])
    const rows: Row[] = [
      against(download(ours), download(node), atLeastTimes(0.35)),
      against(download(ours), download(plain), atLeastTimes(3)),
    ]
    const figures = [...served.map(download), memory]
    if (hasWrk) {
      const requests = figure('artifact-hub', '16 KiB, 64 connections', '1/s', small)
      rows.push(
        alone(ranges(ours), atLeast(350, '1/s')),
        against(ranges(ours), ranges(node)),
        against(ranges(ours), ranges(plain)),
      )
      rows.push(alone(requests, atLeast(2_500, '1/s')))
      figures.push(...served.map(ranges), requests)
    }
    rows.push(alone(memory, atMost(600, 'MB')))
    return {
      title: 'Links over HTTP',
      rows,
      figures,
      notes: [
        'ours verifies and decrypts every chunk, the others send what is on the disk; all of it is in the page cache',
        'clients (curl, wrk) run on the same cores',
        ...(hasWrk ? [] : ['wrk is not installed: no ranges and no small requests']),
      ],
    }
  },
}

const idle = undefined as never
const gatewayProcess = () => new JobProcess<GatewayJobs>(new URL('./gateway-process.ts', import.meta.url))
const fileServerProcess = () => new JobProcess<FileServerJobs>(new URL('./file-server-process.ts', import.meta.url))

function contender(name: string, large: string, small?: string): Served {
  return { name, large, small, download: [], ranges: [] }
}

function figure(contender: string, what: string, unit: Unit, figures: readonly number[]): Figure {
  return { contender, what, unit, runs: figures }
}

async function isThere(program: string): Promise<boolean> {
  return await run('sh', ['-c', 'command -v "$1"', 'sh', program]).then(
    () => true,
    () => false,
  )
}

/** Requests a second. @throws Error when any was not answered with what was asked for */
async function wrk({ workspace }: Bench, url: string, connections: number, script?: string): Promise<number> {
  const args = ['-t1', `-c${connections}`, `-d${wrkSeconds}s`]
  if (script !== undefined) {
    const path = workspace.newPath('wrk.lua')
    await writeFile(path, script)
    args.push('-s', path)
  }
  const { stdout } = await run('wrk', [...args, url])
  if (/Non-2xx/.test(stdout)) throw new Error(`wrk: ${stdout}`)
  return Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1])
}

function rangeScript(fileBytes: number): string {
  return `math.randomseed(1)
request = function()
  local first = math.random(0, ${fileBytes - rangeBytes})
  return wrk.format("GET", nil, { Range = "bytes=" .. first .. "-" .. (first + ${rangeBytes - 1}) })
end
`
}

/** The most memory that a gateway has resident while many clients each take a little a second, MB. */
async function slowDownloads(dataDir: string, artifactId: string): Promise<number> {
  const hub = gatewayProcess()
  await hub.run('open', dataDir)
  const { hostname, port, pathname, search } = new URL((await hub.run('link', artifactId)).result)
  const clients: Socket[] = []
  while (clients.length < slowClients) {
    const client = connect(Number(port), hostname)
    client.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: bench\r\n\r\n`)
    clients.push(client)
  }
  await Promise.all(clients.map((client) => once(client, 'readable')))
  for (let tick = 0; tick < slowSeconds * 5; tick++) {
    for (const client of clients) client.read(Math.min(client.readableLength, slowBytesPerSecond / 5))
    await delay(200)
  }
  if (clients.some((client) => client.destroyed)) throw new Error('a slow download was cut off')
  const { peakRssBytes } = await hub.run('rest', idle)
  for (const client of clients) client.destroy()
  await hub.run('close', idle)
  await hub.close()
  return peakRssBytes / 1e6
}
