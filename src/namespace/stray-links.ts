import { bytesText, equalBytes, prefixEnd } from '../encoding/index.ts'
import { maxStrayLinks, maxStrayReads } from '../limits.ts'
import { type Entry, publicBytes } from '../log/index.ts'
import type { Membership } from '../membership/index.ts'
import { chainOf } from './chains.ts'
import type { NamespaceParts } from './parts.ts'
import { isShownBy } from './shown.ts'

/**
 * What shows who holds a part of the log whether entries stand on a branch that counts: headers of their chains from what adopts and cuts name down to their
 * numbers, or from them down to what is named. None of an entry that is not held; and of one that does not count none unless all that is named can be told from
 * its branch with `maxStrayLinks` in all.
 *
 * @param ids the first 16 bytes of their hashes
 */
export async function* strayLinks(
  parts: NamespaceParts,
  membership: Membership,
  ids: Iterable<Uint8Array>,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const given = new Set<string>()
  const room: Room = { links: maxStrayLinks, reads: maxStrayReads }
  for (const id of ids) {
    signal?.throwIfAborted()
    if (room.reads-- <= 0) return
    const entry = await entryNamed(parts, id)
    if (entry === undefined) continue
    for (const link of await linksOf(parts, membership, entry, room)) {
      const name = bytesText(link.hash)
      if (given.has(name)) continue
      given.add(name)
      room.links -= 1
      yield publicBytes(link)
    }
  }
}

/** What may still be given and read. */
interface Room {
  links: number
  reads: number
}

async function entryNamed({ env, keys, log }: NamespaceParts, id: Uint8Array): Promise<Entry | undefined> {
  const gte = keys.key('places', id)
  for await (const [key] of env.store.entries({ gte, lt: prefixEnd(gte) as Uint8Array, limit: 1 }))
    return await log.unverified(keys.rest(key).slice())
  return undefined
}

async function linksOf(parts: NamespaceParts, membership: Membership, entry: Entry, room: Room): Promise<Entry[]> {
  const isShown = isShownBy(membership, entry)
  const links: Entry[] = []
  for (const { hash } of membership.namedBeside(entry)) {
    if (room.reads-- <= 0) return []
    const end = await parts.log.unverified(hash)
    const path = end && (await pathBetween(parts, entry, end, room))
    const [low, last] = [path?.[0], path?.at(-1)]
    // One that may be before or after anything that is named is not shown to be on no branch.
    if (!isShown && (low === undefined || last === undefined || equalBytes(low.hash, last.hash))) return []
    links.push(...(path ?? []))
  }
  return links.filter(({ hash }) => !equalBytes(hash, entry.hash))
}

/** From the higher of two entries of one chain down to the number of the lower; `undefined` when there is no room for that, or it is not held. */
async function pathBetween({ log }: NamespaceParts, one: Entry, two: Entry, room: Room): Promise<Entry[] | undefined> {
  if (!equalBytes(chainOf(one), chainOf(two))) return undefined
  const [high, low] = one.header.seq > two.header.seq ? [one, two] : [two, one]
  const path = [low]
  for (
    let at: Entry | undefined = high;
    at !== undefined;
    at = at.header.previous && (await log.unverified(at.header.previous))
  ) {
    if (path.length > room.links || room.reads-- <= 0) return undefined
    path.push(at)
    if (at.header.seq <= low.header.seq) return path
  }
  return undefined
}
