import { readFile, writeFile } from 'node:fs/promises'
import { against, alone, atLeast, atLeastTimes, atMost, type Figure, type Row, type Unit } from './figures.ts'
import type { FileServerJobs } from './file-server-process.ts'
import { firstBytes } from './gateway-cold.ts'
import type { GatewayJobs, GatewayPlace } from './gateway-process.ts'
import { type Speech, slowClients, slowDownloads } from './gateway-slow.ts'
import { JobProcess } from './job-process.ts'
import { run, warmPageCache } from './programs.ts'
import { type Bench, inRounds, type Section } from './section.ts'

const MiB = 2 ** 20
const smallBytes = 16 * 1024
const rangeBytes = MiB
const wrkSeconds = 5
/** Links that are checked for the first time. */
const freshLinks = 500

interface Served {
  readonly name: string
  readonly large: string
  readonly small?: string | undefined
  readonly download: number[]
  readonly ranges: number[]
}

/**
 * Links over HTTP: one large download, random ranges, many small requests, beside plain servers; checks of links, many slow clients in each
 * way of speaking, and the first byte of a gateway that has to fetch everything.
 */
export const gateway: Section = {
  name: 'gateway',
  run: async (bench) => {
    const { settings, workspace, largeFile, say } = bench
    const { fileBytes, runs } = settings
    const path = await largeFile()
    const dataDir = workspace.newPath('hub')
    const [hub, bare, helia] = [gatewayProcess(), fileServerProcess(), fileServerProcess()]
    const tls = await certificate(bench)
    await hub.run('open', { dataDir })
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
    const { result: checks } = await hub.run('check', { artifactId: ids.small, count: freshLinks })
    await Promise.all([hub.run('close', idle), bare.run('close', idle), helia.run('close', idle)])
    await Promise.all([hub.close(), bare.close(), helia.close()])
    const secure = await secureDownloads(bench, { dataDir, tls }, ids.large)
    const memory: Figure[] = []
    for (const speech of ['HTTP', 'HTTPS', 'HTTP/2'] as const satisfies readonly Speech[]) {
      const place = speech === 'HTTP' ? { dataDir } : { dataDir, tls }
      const peakMB = await slowDownloads(place, ids.large, speech)
      say(`gateway, ${slowClients} slow downloads over ${speech}: ${peakMB.toFixed(0)} MB`)
      memory.push(figure('artifact-hub', `peak memory with ${slowClients} slow downloads, ${speech}`, 'MB', [peakMB]))
    }
    const cold = figure(
      'artifact-hub',
      'first byte of a link, cold gateway, blocks one hop away',
      'ms',
      await firstBytes(bench),
    )
    const check = figure('artifact-hub', 'check of a link that was not seen before', 'µs', checks)
    const [ours, node, plain] = served as [Served, Served, Served]
    const download = ({ name, download: figures }: Served): Figure =>
      figure(name, `one download of ${fileBytes / MiB} MiB`, 'MB/s', figures)
    const ranges = ({ name, ranges: figures }: Served): Figure =>
      figure(name, 'random 1 MiB ranges, 32 connections', '1/s', figures)
    const rows: Row[] = [
      against(download(ours), download(node), atLeastTimes(0.35)),
      against(download(ours), download(plain), atLeastTimes(3)),
    ]
    const figures = [...served.map(download), ...secure, ...memory, cold, check]
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
    rows.push(alone(check, atMost(200, 'µs')), alone(cold, atMost(250, 'ms')))
    rows.push(...secure.map((one) => against(one, download(ours))))
    rows.push(...memory.map((one) => alone(one, atMost(600, 'MB'))))
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

/** A key and a certificate for 127.0.0.1, PEM. */
async function certificate({ workspace }: Bench): Promise<NonNullable<GatewayPlace['tls']>> {
  const [key, cert] = [workspace.newPath('key.pem'), workspace.newPath('cert.pem')]
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=localhost']
  await run('openssl', ['req', '-x509', ...curve, '-keyout', key, '-out', cert])
  return { key: await readFile(key, 'utf8'), cert: await readFile(cert, 'utf8') }
}

/** The large download over TLS, in both versions of HTTP. */
async function secureDownloads({ settings, say }: Bench, place: GatewayPlace, artifactId: string): Promise<Figure[]> {
  const hub = gatewayProcess()
  await hub.run('open', place)
  const { result: link } = await hub.run('link', artifactId)
  const figures: Figure[] = []
  for (const [speech, option] of [
    ['HTTPS', '--http1.1'],
    ['HTTP/2', '--http2'],
  ] as const) {
    const speeds: number[] = []
    for (let round = 0; round < settings.runs; round++) {
      const { ms } = await run('curl', ['-sS', '--fail', '-k', option, '-o', '/dev/null', link])
      speeds.push(settings.fileBytes / 1e3 / ms)
    }
    say(`gateway over ${speech}: ${speeds.at(-1)?.toFixed(0)} MB/s`)
    figures.push(figure('artifact-hub', `one download of ${settings.fileBytes / MiB} MiB, ${speech}`, 'MB/s', speeds))
  }
  await hub.run('close', idle)
  await hub.close()
  return figures
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
