import type { Operation } from '../catalog/index.ts'
import { artifactIdOf, bytesText, equalBytes, fromHex, toHex } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import { type ChainLimit, changedBetween, isWithin } from '../membership/index.ts'
import { type Chains, chainOf, type Tip } from './chains.ts'
import { isStripped, operationOf } from './operations.ts'
import { readState } from './secrets.ts'
import type { Transaction } from './transaction.ts'

/**
 * Makes the catalog what counts now: entries of others that were stored in this transaction, and those that are in the
 * catalog by what counted before.
 *
 * @param fresh data entries stored here and not applied yet
 */
export async function recount(tx: Transaction, chains: Chains, fresh: readonly Entry[]): Promise<void> {
  const before = tx.counted
  const after = tx.membership
  const isFresh = new Set(fresh.map(({ hash }) => bytesText(hash)))
  const changed = new Map<string, Recounted>()
  if (after !== before) {
    for (const tip of touchedChains(tx, chains)) {
      const [was, is] = [before.limitOf(tip), after.limitOf(tip)]
      for await (const entry of changedEntries(tx, tip, was, is)) {
        const { data, seq } = entry.header
        const name = toHex(entry.hash)
        if (data === undefined || isFresh.has(bytesText(entry.hash))) continue
        const [did, does] = [
          isWithin(was, seq, name) && before.counts(entry),
          isWithin(is, seq, name) && after.counts(entry),
        ]
        if (did === does) continue
        const artifact = artifactIdOf(tx.namespace, data.artifactSalt)
        const found = changed.get(bytesText(artifact)) ?? { artifact, gained: [], lost: new Set<string>() }
        changed.set(bytesText(artifact), found)
        if (does) found.gained.push(entry)
        else found.lost.add(name)
      }
    }
  }
  for (const one of changed.values()) await recountArtifact(tx, one)
  for (const entry of fresh) {
    if (!after.counts(entry)) continue
    const operation = await operationFrom(tx, entry)
    if (operation !== undefined) await tx.apply(operation)
  }
  tx.counted = after
}

/** An artifact of which other entries count than did. */
interface Recounted {
  readonly artifact: Uint8Array
  readonly gained: Entry[]
  /** Hashes, hex. */
  readonly lost: Set<string>
}

/** Makes an artifact what counts of it now. */
export async function recountArtifact(tx: Transaction, { artifact, gained, lost }: Recounted): Promise<void> {
  const gainedOperations: Operation[] = []
  for (const entry of gained) {
    const operation = await operationFrom(tx, entry)
    if (operation !== undefined) gainedOperations.push(operation)
  }
  if (lost.size === 0) {
    for (const operation of gainedOperations) await tx.apply(operation)
    return
  }
  const kept: Operation[] = []
  for (const hash of await tx.catalog.entriesOf(artifact)) {
    if (lost.has(toHex(hash))) continue
    const entry = await tx.entry(hash)
    const operation = entry && (await operationFrom(tx, entry))
    if (operation !== undefined) kept.push(operation)
  }
  await tx.rebuildArtifact(artifact, [...kept, ...gainedOperations])
}

/** What an entry says to the catalog; notes it when it lacks what a live version needs. */
export async function operationFrom(tx: Transaction, entry: Entry): Promise<Operation | undefined> {
  const { data, kind } = entry.header
  if (data === undefined) return undefined
  const artifact = artifactIdOf(tx.namespace, data.artifactSalt)
  if (!(await tx.opened.has(artifact))) return undefined
  const state = kind === 'put' ? await readState(tx, entry) : undefined
  if (kind === 'put' && isStripped(entry)) {
    tx.add({ type: 'put', key: tx.keys.key('stripped', entry.hash), value: new Uint8Array(0) })
  }
  return operationOf(artifact, entry, state)
}

/** Tries hidden versions of artifacts whose keys have come. */
export async function revealArtifacts(tx: Transaction, artifacts: Iterable<Uint8Array>): Promise<void> {
  for (const artifact of artifacts) {
    for (const hash of await tx.catalog.hiddenOf(artifact)) {
      const entry = await tx.entry(hash)
      const operation = entry && (await operationFrom(tx, entry))
      if (operation?.kind === 'put' && operation.state !== undefined) await tx.apply(operation)
    }
  }
}

/** One tip of each chain whose entries may count otherwise than before. */
function* touchedChains(tx: Transaction, chains: Chains): Generator<Tip> {
  const { touched } = tx
  const seen = new Set<string>()
  for (const tip of [...[...tx.tips].flat(), ...chains.all()]) {
    const name = bytesText(tip.chain)
    if (seen.has(name) || (touched !== undefined && !touched.has(toHex(tip.grant)))) continue
    seen.add(name)
    yield tip
  }
}

/** Held entries of a chain among which are all that count by one of two limits only: no more is read than lies between these. */
async function* changedEntries(tx: Transaction, tip: Tip, was: ChainLimit, is: ChainLimit): AsyncGenerator<Entry> {
  const { chain } = tip
  const [from, to] = [Math.min(was.below, is.below), Math.max(was.below, is.below)]
  yield* tx.heldBetween(chain, from, to)
  for (const name of changedBetween(was, is)) {
    const entry = await tx.entry(fromHex(name))
    if (entry !== undefined && entry.header.seq >= to && equalBytes(chainOf(entry), chain)) yield entry
  }
}
