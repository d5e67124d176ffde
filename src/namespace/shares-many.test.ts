import { expect, test } from 'vitest'
import { NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { hold, readable } from '../../test/support/sharing-nodes.ts'
import type { Audience } from '../capability/index.ts'
import { equalBytes } from '../encoding/index.ts'
import { AgentKey } from '../identity/index.ts'
import { maxBoxesInEntry } from '../limits.ts'
import { decodeEntry } from '../log/index.ts'

const agents = 2_000

test('one artifact is shared with thousands of agents, and taken back from one of them, who cannot open what comes then', async () => {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const artifact = await owner.write('one', 'report')
  const keys = Array.from(
    { length: agents },
    (_, at) =>
      new AgentKey(
        new Uint8Array(32)
          .fill(7)
          .fill(at, 0, 1)
          .fill(at >> 8, 1, 2),
      ),
  )
  const audience = keys.map(({ publicKey }): Audience => ({ kind: 'agent', id: publicKey }))
  const shares = await owner.ns.sharing.share({ artifact, audience })
  expect(shares).toHaveLength(agents)

  // Who has it already is given nothing anew.
  const { entries } = owner.ns.totals
  const again = await owner.ns.sharing.share({ artifact, audience })
  expect(again.map(({ entry }) => entry)).toEqual(shares.map(({ entry }) => entry))
  expect(owner.ns.totals.entries).toBe(entries)

  await owner.ns.sharing.unshare({ artifact, audience: audience.slice(0, 1) })
  await owner.update(artifact, 'two', 'report')
  const boxes: number[] = []
  for await (const { bytes } of owner.ns.held.all()) {
    const { header, keys: section } = decodeEntry(bytes)
    const isOfSecond = header.kind === 'put' || header.kind === 'keys'
    if (isOfSecond && section !== undefined) boxes.push(section.boxes.filter(({ label }) => label !== undefined).length)
  }
  expect(boxes.reduce((sum, count) => sum + count, 0)).toBe(agents - 1)
  expect(Math.max(...boxes)).toBe(maxBoxesInEntry)

  for (const at of [0, 1, agents - 1]) {
    const node = await new NamespaceNode(100 + at, time, { agent: keys[at] as AgentKey }).join(owner)
    await node.pull(owner)
    await hold(node, [shares[at] ?? expect.fail('it was shared')])
    expect(await readable(node, artifact)).toEqual(at === 0 ? { 1: 'one' } : { 1: 'one', 2: 'two' })
  }
  const inForce = (await owner.ns.sharing.of(artifact)).filter(({ refusal }) => refusal === undefined)
  expect(inForce).toHaveLength(agents - 1)
  expect(inForce.some(({ share }) => equalBytes(share.entry, (shares[0] ?? expect.fail()).entry))).toBe(false)
})
