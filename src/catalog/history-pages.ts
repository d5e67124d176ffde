import { toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { decodeCursor, encodeCursor, queryHash } from './cursor.ts'
import { entryOf, genOf, type Keyspace, type Place, placeBytes, tables, within } from './keys.ts'
import type { Reader } from './overlay.ts'
import { type Page, type PageOptions, pageLimit } from './page.ts'
import { isHiddenRow } from './rows.ts'
import { livePlaces, readHead, readPut, recordOf, type VersionRecord } from './versions.ts'

/**
 * Live versions of an artifact, newest first by (number, clock, entry hash), in pages. A page costs its items.
 *
 * @throws INVALID_ARGUMENT for a bad limit or cursor
 */
export async function listVersionPage(
  reader: Reader,
  keys: Keyspace,
  artifact: Uint8Array,
  options: PageOptions = {},
): Promise<Page<VersionRecord>> {
  const limit = pageLimit(options.limit)
  const query = queryHash(`versions of ${toHex(artifact)}`)
  const after = options.cursor === undefined ? undefined : decodeCursor(query, options.cursor)
  if (after !== undefined && after.length !== placeBytes) {
    throw new ArtifactHubError('INVALID_ARGUMENT', 'the cursor is not one that a list gave')
  }
  const prefix = keys.key(tables.live, artifact)
  const { gte, lt } = within(prefix)
  const end = after === undefined ? lt : keys.key(tables.live, artifact, after)
  const range = { gte, lt: end, reverse: true }
  const found: Place[] = []
  for await (const [key, row] of reader.entries(range, options.signal && { signal: options.signal })) {
    if (!isHiddenRow(row)) found.push(keys.place(key))
    if (found.length > limit) break
  }
  const places = found.slice(0, limit)
  const head = await readHead(reader, keys, artifact)
  const rows = await reader.getMany(places.map((place) => keys.key(tables.operation, artifact, entryOf(place))))
  const peersOf = await groupPeers(reader, keys, artifact, places)
  const items = places.map((place, at) =>
    recordOf(artifact, head, place, peersOf.get(genOf(place)) ?? [place], readPut(artifact, entryOf(place), rows[at])),
  )
  const last = places.at(-1)
  return found.length > limit && last !== undefined ? { items, nextCursor: encodeCursor(query, last) } : { items }
}

/** Live places by gen. Only the first and the last gen of a page can have places outside it. */
async function groupPeers(
  reader: Reader,
  keys: Keyspace,
  artifact: Uint8Array,
  places: readonly Place[],
): Promise<Map<number, Place[]>> {
  const peersOf = new Map<number, Place[]>()
  for (const place of places) {
    const gen = genOf(place)
    const peers = peersOf.get(gen)
    if (peers === undefined) peersOf.set(gen, [place])
    else peers.unshift(place)
  }
  for (const edge of [places[0], places.at(-1)]) {
    if (edge === undefined) continue
    const gen = genOf(edge)
    const all = await livePlaces(reader, keys, artifact, gen)
    // A version that ended since the page's own scan is still shown on it.
    if (all.length >= (peersOf.get(gen)?.length ?? 0)) peersOf.set(gen, all)
  }
  return peersOf
}
