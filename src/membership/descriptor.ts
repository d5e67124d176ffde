import type { ClockReading } from '../catalog/index.ts'
import { equalBytes, toHex } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import { isUsablePublicKey } from '../identity/index.ts'
import { maxProofEntries } from '../limits.ts'
import { decodeEntry, type Entry } from '../log/index.ts'
import { compareClocks } from './epochs.ts'

/** The highest number that anybody gives an epoch: whoever begins another one after it gives the same. */
export const highestNumber = Number.MAX_SAFE_INTEGER - 1

/** What is known of a group outside it: the epoch that it is in, and the key to seal to it and to check its members by. */
export interface GroupDescriptor {
  /** 32 bytes. */
  readonly group: Uint8Array
  /** Id of the epoch's secret, 16 bytes. */
  readonly epoch: Uint8Array
  /** Raw Ed25519 public key of the epoch's pair, 32 bytes. */
  readonly publicKey: Uint8Array
  /** Of several the highest holds; among equals the later by clock, then by hash of the rotate. */
  readonly number: number
  readonly clock: ClockReading
  /** Hash of the rotate that began it. */
  readonly rotate: Uint8Array
}

/** What entries of a group's log say of who may begin its epochs, and of the epochs. Their signatures were checked. */
export interface ProofFacts {
  /** Raw public key. */
  readonly owner: Uint8Array
  /** By hash of a grant that the owner gave, its admin. */
  readonly admins: ReadonlyMap<string, string>
  /** Grants that the owner ended, each followed by its agent. */
  readonly ended: ReadonlySet<string>
  readonly rotates: readonly ProvenRotate[]
}

interface ProvenRotate extends GroupDescriptor {
  readonly author: string
  /** `undefined` for the owner's own. */
  readonly grant: string | undefined
}

/**
 * Reads the proof of a group's descriptor, which anyone may have made: the genesis first, then grants to admins, revokes and rotates,
 * of which the keys sections may be left out.
 *
 * Only the owner makes and unmakes admins, so all that is said of them here stands in the owner's own chains, which always count.
 *
 * @param group 32 bytes: the hash of the genesis
 * @throws CORRUPT, TOO_LARGE, UNSUPPORTED_FORMAT
 */
export function readProof(group: Uint8Array, proof: readonly Uint8Array[]): ProofFacts {
  if (proof.length > maxProofEntries)
    throw new ArtifactHubError('TOO_LARGE', `a proof has at most ${maxProofEntries} entries`)
  const [genesis, ...entries] = proof.map((bytes) => decodeEntry(bytes, { partial: true }))
  if (genesis?.auth?.kind !== 'genesis' || !equalBytes(genesis.hash, group))
    throw unproven('it does not begin the group')
  if (genesis.auth.type !== 'group') throw unproven('a namespace has no descriptor')
  const owner = toHex(genesis.header.author)
  const admins = new Map<string, string>()
  const ended = new Set<string>()
  const rotates: ProvenRotate[] = []
  for (const entry of entries) {
    const { header, auth, hash } = entry
    if (!equalBytes(header.namespace ?? hash, group)) throw unproven('it holds an entry of another log')
    if (header.grant === undefined) throw unproven('it begins twice')
    const author = toHex(header.author)
    const isOwners = author === owner && equalBytes(header.grant, group)
    if (auth?.kind === 'rotate') rotates.push(rotateOf(group, entry, isOwners))
    else if (!isOwners) throw unproven('somebody else than the owner says who is an admin')
    else if (auth?.kind === 'grant' && auth.role === 'admin') admins.set(toHex(hash), toHex(auth.agent))
    else if (auth?.kind === 'revoke') for (const one of auth.grants) ended.add(endingKey(toHex(one), toHex(auth.agent)))
    else throw unproven('it holds an entry that proves nothing')
  }
  return { owner: genesis.header.author.slice(), admins, ended, rotates }
}

/**
 * The epoch that a group is in, by all that is known of it together; `undefined` when nothing proves one. An admin's rotate counts
 * while nothing says that its grant was ended: afterwards not even those from before it do, for the removal began another epoch and whoever
 * was removed can go on writing behind its place in its own chain.
 */
export function newestDescriptor(known: Iterable<ProofFacts>): GroupDescriptor | undefined {
  const [newest] = countingRotates([...known]).sort((one, two) => compareDescriptors(two, one))
  if (newest === undefined) return undefined
  const { group, epoch, publicKey, number, clock, rotate } = newest
  return { group, epoch, publicKey, number, clock, rotate }
}

/** Ids, in hex, of the epochs that are known of a group and count, its newest and earlier ones. */
export function countingEpochs(known: Iterable<ProofFacts>): ReadonlySet<string> {
  return new Set(countingRotates([...known]).map(({ epoch }) => toHex(epoch)))
}

/** Looks at each fact once: anyone who may write can record any number of proofs. */
function countingRotates(all: readonly ProofFacts[]): ProvenRotate[] {
  const given = new Set<string>()
  for (const { admins } of all) for (const [grant, agent] of admins) given.add(endingKey(grant, agent))
  const ended = endedIn(all)
  const isAdmins = ({ grant, author }: ProvenRotate) =>
    grant === undefined || (given.has(endingKey(grant, author)) && !ended.has(endingKey(grant, author)))
  return all.flatMap(({ rotates }) => rotates).filter(isAdmins)
}

/** Grants that any of some proofs say the owner ended, each followed by its agent. */
export function endedIn(known: Iterable<ProofFacts>): ReadonlySet<string> {
  const all = new Set<string>()
  for (const { ended } of known) for (const one of ended) all.add(one)
  return all
}

/**
 * Whether one more proof tells of a group what is not known: that it is in another epoch, a later one, or an earlier one, for the
 * proof may tell that whoever began what was taken for the newest had been removed, whatever number that had; or, with the epoch that it is in, of the removal of an
 * admin, who may show one of their own later.
 */
export function isNewsOf(known: Iterable<ProofFacts>, proof: ProofFacts): boolean {
  const all = [...known]
  const [before, after] = [newestDescriptor(all), newestDescriptor([...all, proof])]
  if (after === undefined) return false
  if (before === undefined || !equalBytes(before.rotate, after.rotate)) return true
  const hasEpoch = proof.rotates.some(({ rotate }) => equalBytes(rotate, after.rotate))
  return hasEpoch && !proof.ended.isSubsetOf(endedIn(all))
}

/** Negative, zero or positive as the first is older, the same or newer. */
export function compareDescriptors(
  one: Pick<GroupDescriptor, 'number' | 'clock' | 'rotate'>,
  two: Pick<GroupDescriptor, 'number' | 'clock' | 'rotate'>,
): number {
  return one.number - two.number || compareClocks(one.clock, two.clock, one.rotate, two.rotate)
}

/** A proof that was recorded somewhere, read when it is first asked for. */
export class RecordedProof {
  readonly #group: Uint8Array
  #proof: readonly Uint8Array[] | undefined
  #facts: ProofFacts | undefined

  constructor(group: Uint8Array, proof: readonly Uint8Array[]) {
    this.#group = group.slice()
    this.#proof = proof.map((bytes) => bytes.slice())
  }

  /** `undefined` for what proves nothing: anyone who may write can record anything. */
  get facts(): ProofFacts | undefined {
    if (this.#proof === undefined) return this.#facts
    try {
      this.#facts = readProof(this.#group, this.#proof)
    } catch (error) {
      if (!isHubError(error)) throw error
    }
    this.#proof = undefined
    return this.#facts
  }
}

function rotateOf(group: Uint8Array, { hash, header, auth }: Entry, isOwners: boolean): ProvenRotate {
  if (
    auth?.kind !== 'rotate' ||
    auth.publicKey === undefined ||
    auth.number === undefined ||
    header.keyId === undefined
  )
    throw unproven('a rotate of a group names its key')
  const { publicKey, number } = auth
  if (!isUsablePublicKey(publicKey)) throw unproven('the key of an epoch is none')
  return {
    group: group.slice(),
    epoch: header.keyId.slice(),
    publicKey: publicKey.slice(),
    number,
    clock: header.clock,
    rotate: hash,
    author: toHex(header.author),
    grant: isOwners ? undefined : toHex(header.grant as Uint8Array),
  }
}

function endingKey(grant: string, agent: string): string {
  return grant + agent
}

function unproven(why: string): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', `not the proof of a group’s descriptor: ${why}`)
}
