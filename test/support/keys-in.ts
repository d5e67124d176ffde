import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { LevelStore } from '../../node/disk/index.ts'
import { artifactIdOf, encodeCanonical, formatNamespaceId } from '../../src/encoding/index.ts'
import { AgentKey, decodeIdentityFile, hkdfExpand, hkdfExtract } from '../../src/identity/index.ts'
import { decodeEntry, HybridClock } from '../../src/log/index.ts'
import { loadNamespaceRows, Namespace } from '../../src/namespace/index.ts'
import { secretSalt } from '../../src/sharing/artifact-key.ts'
import { MemoryBlocks } from './namespace-nodes.ts'

/** Takes all keys out of a data directory, which it opens as its node does. */
export async function keysIn(directory: string, passphrase?: string): Promise<Map<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>()
  const seed = await decodeIdentityFile(await readFile(join(directory, 'identity.key')), passphrase)
  found.set(`seed of ${directory}`, seed)
  await using store = await LevelStore.open({ path: join(directory, 'db') })
  const env = {
    store,
    packs: async () => new MemoryBlocks(),
    agent: new AgentKey(seed),
    incarnation: new Uint8Array(16),
    clock: new HybridClock(Date.now),
    random: (length: number) => crypto.getRandomValues(new Uint8Array(length)),
  }
  for (const { id } of await loadNamespaceRows(store)) {
    const ns = await Namespace.open(env, id)
    for (const epoch of ns.membership.epochs) {
      const secret = ns.keyring.epoch(epoch.id)?.secret
      if (secret === undefined) continue
      const named = `${formatNamespaceId(id)}, epoch ${found.size}`
      found.set(named, secret)
      found.set(`${named}, seed`, hkdfExpand(hkdfExtract(secret, secretSalt), encodeCanonical(['group-key', id])))
    }
    for await (const { bytes } of ns.held.all()) {
      const { header } = decodeEntry(bytes)
      if (header.kind !== 'put' || header.data === undefined || header.keyId === undefined) continue
      const key = await ns.artifactKeys.open(artifactIdOf(id, header.data.artifactSalt), header.keyId)
      const { encryption, nonce, chunking } = key.content
      const derived = { secret: key.secret, encryption, nonce, chunking, rows: key.leafRowsKey() }
      for (const [what, bytesOf] of Object.entries(derived)) found.set(`artifact key, ${what}, ${found.size}`, bytesOf)
    }
    await ns.close()
  }
  return found
}

/** How bytes may be written, and how half of them may be, wherever they stand in something longer. */
export function spellings(bytes: Uint8Array): string[] {
  const halves = [bytes.subarray(0, 16), bytes.subarray(16)]
  return halves.flatMap((half) => {
    const buffer = Buffer.from(half)
    const hex = buffer.toString('hex')
    // In base64, three bytes a turn: by where in a turn it begins.
    const base64 = [0, 1, 2].flatMap((skipped) => {
      const whole = buffer.subarray(skipped, skipped + 12)
      return [whole.toString('base64'), whole.toString('base64url')]
    })
    return [
      ...[hex, hex.toUpperCase(), hex.replace(/..(?!$)/g, '$&:')],
      ...base64,
      ...[[...half].join(','), buffer.toString('latin1')],
    ]
  })
}
