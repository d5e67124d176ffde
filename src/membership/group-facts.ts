import type { ClockReading } from '../catalog/index.ts'
import { fromHex, toHex } from '../encoding/index.ts'
import { isUsablePublicKey } from '../identity/index.ts'
import type { GrantedRole } from '../log/index.ts'
import {
  compareDescriptors,
  countingEpochs,
  type GroupDescriptor,
  highestNumber,
  newestDescriptor,
  type ProofFacts,
} from './descriptor.ts'
import { compareClocks } from './epochs.ts'
import { type Role, rankOf } from './roles.ts'
import type { DescriptorStatement, GrantStatement, Place, RevokeStatement, Statements } from './statements.ts'

/** What statements about groups are judged by. */
interface GroupStanding {
  /** Hash of the genesis, of a group. */
  readonly group: Uint8Array | undefined
  counts(entry: Place): boolean
  isLive(grant: GrantStatement): boolean
  /** Whether the author of an entry ranks above the role and the entry counts. */
  isSaidAbove(role: Role, entry: Place): boolean
  /** Those of a grant that have effect. */
  revokesOf(grant: GrantStatement): readonly RevokeStatement[]
}

/** What the members of a group are in a namespace. */
interface RoleOfGroup {
  readonly role: GrantedRole
  /** When it was said. */
  readonly clock: ClockReading
}

/** What is recorded of a group comes to. */
interface RecordedGroup {
  /** As `newestDescriptor`. */
  readonly newest: GroupDescriptor | undefined
  /** As `countingEpochs`. */
  readonly epochs: ReadonlySet<string>
}

const nothingRecorded: RecordedGroup = { newest: undefined, epochs: new Set() }

/** What a log says as a group's own, and what it records of groups. */
export class GroupFacts {
  readonly #statements: Statements
  readonly #standing: GroupStanding
  /** By group in hex, those of which something is recorded and that were asked about. */
  readonly #recorded = new Map<string, RecordedGroup>()

  constructor(statements: Statements, standing: GroupStanding) {
    this.#statements = statements
    this.#standing = standing
  }

  /** Of a group: the epoch that it is in, as others see it (`newestDescriptor`). */
  get epoch(): GroupDescriptor | undefined {
    return newestOf(this.#rotates())?.shown
  }

  /**
   * Of a group: the newest epoch that does not count, for the admin who began it forked, and stands above `epoch` for others: outside nothing tells of forks, so whoever is
   * shown it goes by it. `undefined` when there is none, or none that another epoch could stand above.
   */
  get rival(): GroupDescriptor | undefined {
    const { epoch } = this
    const isAbove = ({ shown }: Rotate) => epoch === undefined || compareDescriptors(shown, epoch) > 0
    const rivals = this.#begun((entry) => this.#isByAdmin(entry))
    return newestOf(rivals.filter((one) => one.shown.number < highestNumber && isAbove(one) && isUsable(one)))?.shown
  }

  /**
   * Of a group: hashes of the entries that prove `epoch`, the genesis first; then of those that end admins' grants, the newest
   * first, of which as many belong into the proof as there is room for.
   */
  get proof(): { readonly needed: readonly Uint8Array[]; readonly endings: readonly Uint8Array[] } | undefined {
    const { group } = this.#standing
    const newest = newestOf(this.#rotates())
    if (group === undefined || newest === undefined) return undefined
    const { grant } = newest.entry
    const needed = [group, ...(grant === toHex(group) ? [] : [fromHex(grant)]), newest.shown.rotate]
    const endings = new Map<string, Place>()
    for (const key of this.#statements.revokes.keys()) {
      const ended = this.#statements.grants.get(key)[0]
      if (ended?.role !== 'admin') continue
      for (const { entry } of this.#standing.revokesOf(ended)) endings.set(entry.hash, entry)
    }
    const latest = [...endings.values()].sort((one, two) => two.seq - one.seq || (one.hash < two.hash ? -1 : 1))
    return { needed, endings: latest.map(({ hash }) => fromHex(hash)) }
  }

  /** Groups (32 bytes) whose descriptors were recorded here. */
  get recorded(): readonly Uint8Array[] {
    return [...this.#statements.descriptors.keys()].sort().map(fromHex)
  }

  /** What was recorded of a group, whoever did: it proves itself. */
  proofsOf(group: Uint8Array): ProofFacts[] {
    return this.#statements.descriptors.get(toHex(group)).flatMap(({ proof }) => proof.facts ?? [])
  }

  /** The newest epoch of a group that was recorded, and all that were and count. Worked out once, however much was recorded. */
  recordedOf(group: Uint8Array): RecordedGroup {
    const name = toHex(group)
    if (!this.#statements.descriptors.has(name)) return nothingRecorded
    let recorded = this.#recorded.get(name)
    if (recorded === undefined) {
      const proofs = this.proofsOf(group)
      recorded = { newest: newestDescriptor(proofs), epochs: countingEpochs(proofs) }
      this.#recorded.set(name, recorded)
    }
    return recorded
  }

  /** As `proofsOf`, with the hashes and times of the entries, and whether they count: those that do not every member need not hold. */
  recordsOf(group: Uint8Array): { entry: Uint8Array; clock: ClockReading; facts: ProofFacts; counts: boolean }[] {
    return this.#statements.descriptors.get(toHex(group)).flatMap(({ entry, clock, proof }) => {
      const { facts } = proof
      return facts === undefined
        ? []
        : [{ entry: fromHex(entry.hash), clock, facts, counts: this.#standing.counts(entry) }]
    })
  }

  /** What the members of each group (in hex) are here, as the newest that counts says. Groups that are nothing are left out. */
  get roles(): ReadonlyMap<string, RoleOfGroup> {
    const roles = new Map<string, RoleOfGroup>()
    for (const group of this.#statements.descriptors.keys()) {
      const [newest] = this.#rolesSaidOf(group)
      if (newest?.role !== undefined && newest.role !== 'none')
        roles.set(group, { role: newest.role, clock: newest.clock })
    }
    return roles
  }

  /** Whether a group's members have a role here by way of it. */
  hasRole(group: Uint8Array): boolean {
    return this.roles.has(toHex(group))
  }

  /** Hashes of the entries that say what a group's members are and that no other one goes on from: who says it anew names them. */
  roleEntriesOf(group: Uint8Array): readonly Uint8Array[] {
    return this.#rolesSaidOf(toHex(group)).map(({ entry }) => fromHex(entry.hash))
  }

  /** The newest first, of those that no other names: so that a clock that was ahead keeps nobody from saying otherwise. */
  #rolesSaidOf(group: string): DescriptorStatement[] {
    const said = this.#statements.descriptors.get(group).filter((one) => this.#setsRole(one))
    const named = new Set(said.flatMap(({ names }) => names))
    return said
      .filter(({ entry }) => !named.has(entry.hash))
      .sort((one, two) => compareClocks(two.clock, one.clock, two.entry.hash, one.entry.hash))
  }

  /** As for a grant; that takes an admin, whatever the role. */
  #setsRole({ entry, role }: DescriptorStatement): boolean {
    if (role === undefined) return false
    return this.#standing.isSaidAbove(role === 'none' || rankOf(role) === 0 ? 'writer' : role, entry)
  }

  #rotates(): Rotate[] {
    return this.#begun((entry) => this.#standing.counts(entry) && this.#isUnderLiveGrant(entry)).filter(isUsable)
  }

  /** Of a group, what its rotates began. */
  #begun(is: (entry: Place) => boolean): Rotate[] {
    const { group: id } = this.#standing
    if (id === undefined) return []
    const { sealings } = this.#statements
    return [...sealings.keys()].flatMap((key) =>
      sealings.get(key).flatMap(({ entry, clock, group }) => {
        if (group === undefined || !is(entry)) return []
        const { publicKey, number } = group
        const shown = { group: id, epoch: fromHex(key), publicKey, number, clock, rotate: fromHex(entry.hash) }
        return [{ entry, shown }]
      }),
    )
  }

  #isUnderLiveGrant({ grant }: Place): boolean {
    const { group } = this.#standing
    const held = this.#statements.grants.get(grant)[0]
    return (group !== undefined && grant === toHex(group)) || (held !== undefined && this.#standing.isLive(held))
  }

  #isByAdmin({ grant, author }: Place): boolean {
    const held = this.#statements.grants.get(grant)[0]
    return held?.role === 'admin' && held.agent === author && this.#standing.isLive(held)
  }
}

interface Rotate {
  readonly entry: Place
  readonly shown: GroupDescriptor
}

function newestOf(rotates: readonly Rotate[]): Rotate | undefined {
  const [newest] = [...rotates].sort((one, two) => compareDescriptors(two.shown, one.shown))
  return newest
}

/** Whether anything could be sealed to it. */
function isUsable({ shown }: Rotate): boolean {
  return isUsablePublicKey(shown.publicKey)
}
