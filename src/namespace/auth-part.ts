import { bytesText, concatBytes, equalBytes, readUint64, sha256 } from '../encoding/index.ts'
import { publicBytes } from '../log/index.ts'
import { type Membership, rankOf } from '../membership/index.ts'
import type { Chains } from './chains.ts'
import type { NamespaceParts } from './parts.ts'
import { isAmong } from './shown.ts'
import { decodeStored, type StoredEntry } from './stored-log.ts'

const chainBytes = 16
const idBytes = 16
const batchRows = 200

/** Ids of entries, the first 16 bytes of each hash, ascending; and the SHA-256 over them. */
export interface EntryIds {
  readonly ids: readonly Uint8Array[]
  readonly hash: Uint8Array
}

/** Where an entry is, and how high its author ranked. */
interface Row {
  readonly hash: Uint8Array
  readonly place: Uint8Array
  readonly seq: number
  readonly rank: number
  readonly isBounded: boolean
}

/**
 * What whoever follows one artifact is given of a log beside that: all entries that say who may do what, but those beyond the
 * limit of their chain, and the two that prove each fork. Of all of them only what is public.
 */
export class AuthPart {
  /** Made anew when this is another: each entry that belongs here makes another. */
  readonly membership: Membership
  readonly ids: EntryIds
  readonly #parts: NamespaceParts
  readonly #rows: readonly Row[]

  private constructor(parts: NamespaceParts, membership: Membership, rows: readonly Row[]) {
    this.#parts = parts
    this.membership = membership
    this.#rows = rows
    const ids = rows.map(({ hash }) => hash.slice(0, idBytes)).sort(Buffer.compare)
    this.ids = { ids, hash: sha256(concatBytes(...ids)) }
  }

  /** Reads where the entries are, not the entries. */
  static async of(parts: NamespaceParts, membership: Membership, chains: Chains): Promise<AuthPart> {
    const { env, keys } = parts
    const { gte, lt } = keys.all('auth')
    const ranks = ranksOf(parts, membership, chains)
    const rows = new Map<string, Row>()
    for await (const [key, place] of env.store.entries({ gte, lt })) {
      const hash = key.slice(gte.length)
      const chain = ranks.get(bytesText(place.subarray(0, chainBytes)))
      const seq = readUint64(place.subarray(chainBytes))
      const { shown, rank = 0 } = chain ?? {}
      // A partial log says all that it has: it lacks what would tell more.
      if (parts.partial !== undefined || shown === undefined || isAmong(shown, seq, hash))
        rows.set(bytesText(hash), { hash, place: place.slice(), seq, rank, isBounded: shown !== undefined })
    }
    for (const { hashes } of membership.forks) {
      for (const hash of hashes) {
        const place = rows.has(bytesText(hash)) ? undefined : await env.store.get(keys.key('places', hash))
        if (place !== undefined)
          rows.set(bytesText(hash), {
            hash,
            place,
            seq: readUint64(place.subarray(chainBytes)),
            rank: -1,
            isBounded: true,
          })
      }
    }
    // Of what ends at a cut the last first: those before it are believed by it.
    const inOrder = [...rows.values()].sort(
      (a, b) =>
        b.rank - a.rank ||
        Number(a.isBounded) - Number(b.isBounded) ||
        (a.isBounded ? b.seq - a.seq : a.seq - b.seq) ||
        Buffer.compare(a.place, b.place) ||
        Buffer.compare(a.hash, b.hash),
    )
    return new AuthPart(parts, membership, inOrder)
  }

  /** Those whose id (text, as `bytesText`) is not in `without`; what others stand on first. */
  async *entries(
    without: ReadonlySet<string>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<StoredEntry, void, undefined> {
    const { env, keys } = this.#parts
    const rows = this.#rows.filter(({ hash }) => !without.has(bytesText(hash.subarray(0, idBytes))))
    for (let at = 0; at < rows.length; at += batchRows) {
      signal?.throwIfAborted()
      const some = rows.slice(at, at + batchRows)
      const stored = await env.store.getMany(some.map(({ place, hash }) => keys.key('entries', place, hash)))
      for (const [index, bytes] of stored.entries()) {
        const row = some[index]
        if (bytes !== undefined && row !== undefined) yield { hash: row.hash, bytes: publicBytes(decodeStored(bytes)) }
      }
    }
  }
}

function ranksOf({ id }: NamespaceParts, membership: Membership, chains: Chains) {
  const ranks = new Map<string, { rank: number; shown: ReturnType<Membership['shownOf']> }>()
  for (const tip of chains.all()) {
    const name = bytesText(tip.chain)
    if (ranks.has(name)) continue
    const role = equalBytes(tip.grant, id) ? 'owner' : membership.grantOf(tip.grant)?.role
    ranks.set(name, { rank: role === undefined ? 0 : rankOf(role), shown: membership.shownOf(tip) })
  }
  return ranks
}
