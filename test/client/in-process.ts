import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type ArtifactHubNode, startNode } from '../../node/index.ts'
import type { OpenedClient } from './contract-support.ts'

/** A client in the process of its node; at the end the store must check clean, every byte of it. */
export async function openInProcess(): Promise<
  OpenedClient & { readonly node: ArtifactHubNode; readonly folder: string }
> {
  const folder = await mkdtemp(join(tmpdir(), 'artifact-hub-node-'))
  const node = await startNode({ network: 'offline', dataDir: join(folder, 'data') })
  return {
    client: node.client,
    node,
    folder,
    async close() {
      try {
        const { findings } = await node.check({ readData: true })
        expect(findings).toEqual([])
      } finally {
        await node.close()
        await rm(folder, { recursive: true })
      }
    },
  }
}
