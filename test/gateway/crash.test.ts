import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ControlledNode } from '../support/controlled-node.ts'
import { ask, codeOf } from './ask.ts'
import { freePort } from './nginx.ts'

const sizeBytes = 12_000_000

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'artifact-hub-gateway-crash-'))
})
afterAll(async () => {
  await rm(folder, { recursive: true })
})

/** A gateway in a process that is killed and started again, always at one address. */
async function gatewayIn(name: string) {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const start = () => ControlledNode.start({ dataDir: join(folder, name), network: 'offline', gateway: { port } })
  let node = await start()
  const { id: artifactId } = await node.write('personal', 'x', name, sizeBytes)
  return {
    link: async (maxUses: number): Promise<string> => {
      const gateways = [{ agent: node.did, url }]
      return await node.call('client.artifact.getSignedUrl', { artifactId, gateways, maxUses })
    },
    crash: async () => {
      await node.kill()
      node = await start()
    },
    [Symbol.asyncDispose]: async () => await node[Symbol.asyncDispose](),
  }
}

test('a gateway that is killed knows afterwards what of a link was used, and what it had set aside', async () => {
  await using gateway = await gatewayIn('uses')
  const [begun, usedOnce, untouched] = [await gateway.link(2), await gateway.link(2), await gateway.link(1)]
  for (const link of [begun, usedOnce]) expect((await ask(link)).body).toHaveLength(sizeBytes)
  const { port, pathname, search } = new URL(begun)
  const client = connect(Number(port), '127.0.0.1')
  client.on('error', () => {})
  client.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await once(client, 'readable')
  await gateway.crash()
  client.destroy()
  expect(codeOf(await ask(begun, { headers: { range: 'bytes=0-0' } }))).toBe('EXHAUSTED')
  for (const link of [usedOnce, untouched]) {
    expect((await ask(link)).body).toHaveLength(sizeBytes)
    expect(codeOf(await ask(link, { headers: { range: 'bytes=0-0' } }))).toBe('EXHAUSTED')
  }
})

test('however often it is killed while it sends parts of a link, no more goes out than may', async () => {
  await using gateway = await gatewayIn('parts')
  const link = await gateway.link(1)
  const rangeBytes = 400_000
  let [received, asked] = [0, 0]
  /** Ranges one after the other, until the link is used up or the gateway is gone. */
  const take = async (): Promise<string | undefined> => {
    for (;;) {
      // Anywhere, the same in each run.
      const at = (asked++ * 7_654_321) % (sizeBytes - rangeBytes)
      const answer = await ask(link, { headers: { range: `bytes=${at}-${at + rangeBytes - 1}` } }).catch(
        () => undefined,
      )
      if (answer?.status !== 206) return answer && codeOf(answer)
      received += answer.body.length
      if (received % (4 * rangeBytes) === 0) return undefined
    }
  }
  for (let kills = 0; kills < 3; kills++) {
    // Killed while some are on their way.
    const parts = [1, 2, 3].map(() => take())
    await Promise.race(parts)
    await gateway.crash()
    await Promise.all(parts)
  }
  for (;;) if ((await take()) === 'EXHAUSTED') break
  expect(received).toBeGreaterThan(3 * rangeBytes)
  expect(received).toBeLessThanOrEqual(sizeBytes)
})
