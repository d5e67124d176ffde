import { expect, test } from 'vitest'
import { expectBytes, MiB, seededBytes } from '../client/contract-support.ts'
import { eventually, TestNodes } from './nodes.ts'

test('what one member writes another lists and reads', async () => {
  await using nodes = new TestNodes()
  const { owner, others } = await nodes.team(['writer'])
  const [writer] = others as [(typeof others)[0]]
  const bytes = seededBytes('shared', 5 * MiB)
  const { id } = await owner.node.client.artifact.create({ name: 'large.bin', data: bytes })
  const note = await writer.node.client.artifact.createSnippet({ name: 'note', content: 'hello' })
  await eventually(async () =>
    expect((await writer.node.client.artifact.get({ artifactId: id })).name).toBe('large.bin'),
  )
  await eventually(async () =>
    expect((await owner.node.client.artifact.get({ artifactId: note.id })).name).toBe('note'),
  )
  expectBytes(await writer.node.client.artifact.download({ artifactId: id }), bytes)
  expect(new TextDecoder().decode(await owner.node.client.artifact.download({ artifactId: note.id }))).toBe('hello')
})
