import { bytesText, prefixEnd } from '../encoding/index.ts'
import type { NamespaceParts } from './parts.ts'

/** An artifact key, and where it was used. */
export interface KeyUse {
  /** 16 bytes. */
  readonly keyId: Uint8Array
  /** Lowest number of a version of it, live or ended: of its content or its body. */
  readonly firstGen: number
  /** Highest number of a live one; 0 when there is none. */
  readonly lastLiveGen: number
}

const batchVersions = 500

/** The id of the key of an artifact that has only had one, as far as is known here: anyone who may write can say that it has any number. */
export async function onlyKeyOf({ env, keys }: NamespaceParts, artifact: Uint8Array): Promise<Uint8Array | undefined> {
  const gte = keys.key('artifactKeys', artifact)
  const range = { gte, lt: prefixEnd(gte) as Uint8Array, limit: 2 }
  const [first, ...others] = await Array.fromAsync(env.store.entries(range), ([key]) => key.slice(gte.length))
  return others.length === 0 ? first : undefined
}

/** Which versions of an artifact are under which of its keys. Reads each version's entry. */
export async function keyUsesOf(parts: NamespaceParts, artifact: Uint8Array): Promise<KeyUse[]> {
  const uses = new Map<string, KeyUse>()
  const note = (keyId: Uint8Array, gen: number, isLive: boolean) => {
    const { firstGen, lastLiveGen } = uses.get(bytesText(keyId)) ?? { firstGen: gen, lastLiveGen: 0 }
    const last = isLive ? Math.max(lastLiveGen, gen) : lastLiveGen
    uses.set(bytesText(keyId), { keyId, firstGen: Math.min(firstGen, gen), lastLiveGen: last })
  }
  const { catalog, log } = parts
  for (const [versions, isLive] of [
    [catalog.liveRoots(artifact), true],
    [catalog.endedVersions(artifact), false],
  ] as const) {
    let hashes: Uint8Array[] = []
    const flush = async () => {
      for (const { header } of await log.unverifiedMany(hashes)) {
        if (header.keyId !== undefined && header.data !== undefined) note(header.keyId, header.data.gen, isLive)
      }
      hashes = []
    }
    for await (const { entry, number, root } of versions) {
      note(root.keyId.slice(), number, isLive)
      hashes.push(entry.slice())
      if (hashes.length === batchVersions) await flush()
    }
    await flush()
  }
  return [...uses.values()]
}
