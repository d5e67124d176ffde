import { once } from 'node:events'
import { get } from 'node:http'
import type { GatewayJobs } from './gateway-process.ts'
import { JobProcess } from './job-process.ts'
import type { Bench } from './section.ts'

const contentBytes = 8 * 2 ** 20

const gatewayProcess = () => new JobProcess<GatewayJobs>(new URL('./gateway-process.ts', import.meta.url))

/**
 * From a request to the first byte of content, milliseconds, of links to a gateway in a process that has just started, has never heard of their
 * namespace and knows nobody; the blocks are with the author, whom it can dial.
 */
export async function firstBytes({ settings, workspace, say }: Bench): Promise<number[]> {
  const author = gatewayProcess()
  await author.run('open', { dataDir: workspace.newPath('author'), isOnline: true })
  const { result: artifactId } = await author.run('create', new Uint8Array(contentBytes).fill(7))
  const times: number[] = []
  for (let round = 0; round < Math.max(3, settings.runs); round++) {
    const gateway = gatewayProcess()
    const { result: place } = await gateway.run('open', { dataDir: workspace.newPath('cold'), isOnline: true })
    const { result: link } = await author.run('linkFor', { artifactId, ...place })
    times.push(await firstByte(link))
    say(`cold gateway ${round + 1}: first byte after ${times.at(-1)?.toFixed(0)} ms`)
    await gateway.run('close', undefined as never)
    await gateway.close()
  }
  await author.run('close', undefined as never)
  await author.close()
  return times
}

async function firstByte(link: string): Promise<number> {
  const startedMs = performance.now()
  const [response] = await once(get(link), 'response')
  if (response.statusCode !== 200) throw new Error(`a cold gateway answered ${response.statusCode}`)
  await once(response, 'readable')
  const tookMs = performance.now() - startedMs
  let bytes = 0
  for await (const part of response) bytes += part.length
  if (bytes !== contentBytes) throw new Error('a cold gateway sent a part')
  return tookMs
}
