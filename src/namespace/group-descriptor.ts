import { equalBytes, toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { maxClockAheadMs, maxDescriptorsRecorded, maxProofBytes, maxProofEntries } from '../limits.ts'
import { decodeUnverifiedEntry, encodeAuthBody, encodeEntry, type GroupRole } from '../log/index.ts'
import {
  endedIn,
  type GroupDescriptor,
  isNewsOf,
  newestDescriptor,
  type ProofFacts,
  rankOf,
  readProof,
} from '../membership/index.ts'
import type { Ledger } from './ledger.ts'
import { requireAbove } from './members.ts'
import type { Transaction } from './transaction.ts'

/** A group's descriptor as it is handed on: `readProof` says what it holds. */
export interface ShownDescriptor {
  /** 32 bytes. */
  readonly group: Uint8Array
  readonly proof: readonly Uint8Array[]
}

interface Told {
  readonly facts: ProofFacts
  readonly shown: ShownDescriptor
}

/** What one node knows of groups in a namespace: what its log records, and what it was told and may not record; and of a group's own log, what others are told. */
export class KnownDescriptors {
  readonly #ledger: Ledger
  /** By group in hex, the newest, of those that were not written down. */
  readonly #told = new Map<string, Told>()

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  /** Of a group's log: what others may know of it; `undefined` while the log lacks an epoch. @throws CORRUPT when it lacks an entry that proves one */
  async own(): Promise<ShownDescriptor | undefined> {
    const { parts, membership } = this.#ledger
    const { id, log } = parts
    const hashes = membership.groups.proof
    if (hashes === undefined) return undefined
    const read = async (hash: Uint8Array): Promise<Uint8Array> => {
      const bytes = await log.bytes(hash)
      if (bytes === undefined) throw new ArtifactHubError('CORRUPT', 'the log lacks an entry that proves its epoch')
      return encodeEntry({ ...decodeUnverifiedEntry(bytes), keysBytes: undefined })
    }
    const proof: Uint8Array[] = []
    for (const hash of hashes.needed) proof.push(await read(hash))
    let bytes = proof.reduce((sum, entry) => sum + entry.length, 0)
    for (const hash of hashes.endings) {
      if (proof.length === maxProofEntries) break
      const ending = await read(hash)
      // One that is too long, for whoever was removed had many chains, keeps out no others.
      if (bytes + ending.length > maxProofBytes) continue
      bytes += ending.length
      proof.push(ending)
    }
    return { group: id, proof }
  }

  /** The epoch that a group (32 bytes) is in, by what was recorded here; `undefined` for a group of which nothing was. */
  newest(group: Uint8Array): GroupDescriptor | undefined {
    const told = this.#told.get(toHex(group))
    const { groups } = this.#ledger.membership
    if (told === undefined) return groups.recordedOf(group).newest
    return newestDescriptor([...groups.proofsOf(group), told.facts])
  }

  /** Whether what the log records of a group is known here to be gone by: nothing is to be sealed by it. */
  isBehind(group: Uint8Array): boolean {
    if (!this.#told.has(toHex(group))) return false
    const recorded = this.#ledger.membership.groups.recordedOf(group).newest
    const newest = this.newest(group)
    return newest !== undefined && (recorded === undefined || !equalBytes(recorded.rotate, newest.rotate))
  }

  /** Writes down what was only remembered, however much was of late: something is about to be written, and who reads it has to be right. */
  async writeDown(): Promise<void> {
    for (const [name, { shown }] of [...this.#told]) {
      if (this.isBehind(shown.group)) await this.record(shown, undefined, true)
      if (!this.isBehind(shown.group)) this.#told.delete(name)
    }
  }

  /**
   * Records a group's descriptor unless as new a one is there, and what its members are here from now on if `role` says so. An agent that may
   * not write only remembers it while the node runs, and so does one that may while more have come of that group than is written down
   * (`maxDescriptorsRecorded`): it records the next that it is told of later. Gives whether it said anything new.
   *
   * @param isNeeded whether it is written down though there is no room for more
   * @throws CORRUPT and others for a proof that proves nothing (`readProof`); ACCESS_DENIED for a role that this agent may not give
   */
  async record(shown: ShownDescriptor, role?: GroupRole, isNeeded = false): Promise<boolean> {
    const { group, proof } = shown
    const facts = readProof(group, proof)
    return await this.#ledger.commit(async (tx, mark) => {
      const { groups } = tx.membership
      const own = tx.membership.roleOf(tx.agent.publicKey)
      if (role !== undefined)
        requireAbove(tx, rankOf(role === 'none' ? 'writer' : role), `give a group the role ${role}`)
      const mayWrite = own !== undefined && rankOf(own) >= 1
      const records = groups.recordsOf(group)
      // What stands beyond a cut others do not have.
      const recorded = records.filter(({ counts }) => counts || !mayWrite).map(({ facts }) => facts)
      const told = this.#told.get(toHex(group))
      const known = mayWrite || told === undefined ? recorded : [...recorded, told.facts]
      if (newestDescriptor([...known, facts]) === undefined)
        throw new ArtifactHubError('CORRUPT', 'this proves no epoch of the group')
      const isNews = isNewsOf(known, facts)
      if (!isNews && role === undefined) return false
      const hasRoom = isNeeded || role !== undefined || this.#hasRoomFor(tx, group, facts)
      if (!mayWrite || !hasRoom) {
        // Nobody fills the memory with groups that are nothing here.
        if (records.length === 0) return false
        this.#told.set(toHex(group), { facts, shown })
        return true
      }
      mark()
      const body = encodeAuthBody({ kind: 'descriptor', group, proof, role })
      const names = role === undefined ? [] : groups.roleEntriesOf(group)
      await tx.append({ kind: 'descriptor', keyId: undefined, data: undefined, names }, { body })
      return true
    })
  }

  /** Whether another one of that group may be written down now. */
  #hasRoomFor({ membership, now }: Transaction, group: Uint8Array, { ended }: ProofFacts): boolean {
    const { count, withRemovals, duringMs } = maxDescriptorsRecorded
    const recorded = membership.groups.recordsOf(group)
    const recent = recorded.filter(
      ({ clock: { wallMs } }) => wallMs > now - duringMs && wallMs <= now + maxClockAheadMs,
    )
    if (recent.length < count) return true
    if (recent.length >= withRemovals) return false
    return !ended.isSubsetOf(endedIn(recorded.map(({ facts }) => facts)))
  }
}
