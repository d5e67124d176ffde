import { writeFile } from 'node:fs/promises'
import { Chunker, expandGearTable } from './chunker.ts'
import { cidOf } from './cid.ts'
import { inPieces, MemoryBlocks, seededBytes, testKeys } from './content.test-helper.ts'
import { inThreadEngine } from './engine.ts'
import { ingestContent } from './ingest.ts'
import { sealLeaf } from './leaf.ts'
import { TreeBuilder } from './tree.ts'
import { walkTree } from './tree-walk.ts'

/** The frozen bytes of the content formats. */
export const fixtureUrl = new URL('../../test/fixtures/content-v1.json', import.meta.url)

const MiB = 1024 * 1024

/** What today's code makes of fixed input; see README.md for how that is derived. */
export async function describeFormats(): Promise<unknown> {
  return {
    note: 'v1, frozen. seeded(s, n) is the first n bytes of the AES-256-CTR keystream under SHA-256(s), zero counter.',
    keys: {
      encryption: "seeded('encryption key', 32)",
      nonce: "seeded('nonce key', 32)",
      chunking: "seeded('chunking key', 32)",
    },
    gearTableHex: hex(new Uint8Array(expandGearTable(testKeys.chunking).buffer)),
    cuts: { input: "seeded('cut input', 16 MiB)", offsets: cutsOf(seededBytes('cut input', 16 * MiB)).join(' ') },
    leaves: [0, 1, 100].map((length) => {
      const { digest, block } = sealLeaf(seededBytes('chunk', length), testKeys)
      return {
        chunk: `seeded('chunk', ${length})`,
        digest: hex(digest),
        leaf: hex(block),
      }
    }),
    trees: await Promise.all([1, 2, 1024, 1025].map(describeTree)),
    content: await describeContent(),
  }
}

function cutsOf(input: Uint8Array): number[] {
  const chunker = new Chunker(testKeys.chunking)
  const cuts: number[] = []
  for (let cut = chunker.next(input, 0); cut >= 0; cut = chunker.next(input, cut)) cuts.push(cut)
  return cuts
}

async function describeTree(leaves: number): Promise<unknown> {
  const nodes: string[] = []
  const builder = new TreeBuilder(async ({ bytes }) => void nodes.push(hex(bytes)))
  for (let index = 0; index < leaves; index++) await builder.add(seededBytes(`leaf ${index}`, 32), 600_000 + index)
  const root = await builder.finish()
  return {
    leaves,
    leaf: "leaf i: digest seeded('leaf ' + i, 32), size 600000 + i",
    root: cidOf(root.digest, root.codec),
    leafBytes: root.leafBytes,
    dagBytes: root.dagBytes,
    nodes: leaves === 2 ? nodes : nodes.length,
  }
}

async function describeContent(): Promise<unknown> {
  const store = new MemoryBlocks()
  await using blocks = store.openWriter()
  const source = inPieces(seededBytes('content', 5 * MiB), MiB)
  const result = await ingestContent({ source, keys: testKeys, engine: inThreadEngine, blocks })
  const walked = await Array.fromAsync(walkTree({ root: result, blocks: store }))
  return {
    plaintext: "seeded('content', 5 MiB)",
    root: cidOf(result.digest, result.codec),
    sizeBytes: result.sizeBytes,
    storedBytes: result.storedBytes,
    sha256: hex(result.sha256),
    leaves: walked.flatMap((block) =>
      block.kind === 'leaf' ? [{ offset: block.offset, leafBytes: block.blockBytes, digest: hex(block.digest) }] : [],
    ),
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

// Frozen: run by hand when there is more to freeze, or for another version, in a file of its own: node src/content/format.test-helper.ts
if (import.meta.main) await writeFile(fixtureUrl, `${JSON.stringify(await describeFormats(), null, 2)}\n`)
