import { sealInline } from '../../src/content/index.ts'
import { equalBytes, toHex } from '../../src/encoding/index.ts'
import {
  type Namespace,
  Quota,
  type StoredContent,
  writeDelete,
  writeDrop,
  writeFirstVersion,
  writeNextVersion,
} from '../../src/namespace/index.ts'
import type { ArtifactKey } from '../../src/sharing/index.ts'
import { bytesOf, type KnownRemoval, type Ledger, type WrittenPut } from './ledger.ts'
import type { Machine } from './machine.ts'

/** Writes a new artifact. */
export async function create(machine: Machine, ns: Namespace, text: string): Promise<void> {
  const { ledger } = machine.world
  const known = await asKnown(machine, ns, undefined)
  const salt = machine.chance.bytes(16)
  const artifact = ns.artifactOf(salt)
  const key = ns.artifactKeys.fresh(artifact)
  const { entry } = await writeFirstVersion(ns, {
    handle: { artifact, salt, key },
    wrap: undefined,
    isNew: true,
    state: { name: text, contentType: 'text/plain', metadata: { by: machine.name } },
    content: sealed(text, key),
    quota: quotaOf(ns),
    reservation: undefined,
    also: [],
  })
  ledger.puts.set(toHex(entry), { text, ...known })
}

/** Writes the next version of an artifact: with other content, or with another name only. */
export async function update(
  machine: Machine,
  ns: Namespace,
  artifact: Uint8Array,
  text: { content: string } | { name: string },
): Promise<void> {
  const current = await ns.catalog.get(artifact)
  if (current === undefined) return
  const known = await asKnown(machine, ns, artifact)
  const handle = await ns.artifactKeys.handleOf(current)
  const content = 'content' in text ? sealed(text.content, handle.key) : undefined
  const { entry } = await writeNextVersion(ns, {
    handle,
    expectedVersion: undefined,
    restore: undefined,
    next: ({ state }) => ({ state: 'name' in text ? { ...state, name: text.name } : state, content }),
    quota: quotaOf(ns),
    reservation: undefined,
    also: [],
  })
  machine.world.ledger.puts.set(toHex(entry), { text: 'content' in text ? text.content : undefined, ...known })
}

/** Ends an artifact, or one version of it. */
export async function remove(ns: Namespace, artifact: Uint8Array, version: number | undefined): Promise<void> {
  const current = await ns.catalog.get(artifact)
  const salt = current && (await ns.held.entry(current.entry))?.header.data?.artifactSalt
  if (salt === undefined) return
  if (version === undefined) await writeDelete(ns, { artifact, salt })
  else await writeDrop(ns, { artifact, salt }, version)
}

/** Artifacts that are listed. */
export async function listed(ns: Namespace): Promise<Uint8Array[]> {
  return (await ns.catalog.list({ limit: 1_000 })).items.map(({ artifact }) => artifact)
}

async function asKnown(
  machine: Machine,
  ns: Namespace,
  artifact: Uint8Array | undefined,
): Promise<Omit<WrittenPut, 'text'>> {
  const { group } = machine.world
  const epoch = group && ns.descriptors.newest(group)?.epoch
  return {
    removed: await removedAsKnown(machine, ns),
    ended: await endedAsKnown(machine, ns, artifact),
    shares: await sharesAsKnown(machine, ns, artifact),
    groupEpoch: epoch && toHex(epoch),
  }
}

/** Every share of an artifact so far, by name in hex: more may be made while these are gone through. */
function sharesIn({ shares }: Ledger, artifact: Uint8Array | undefined) {
  return [...shares].filter(([, claims]) => artifact !== undefined && equalBytes(claims.artifact, artifact))
}

/** Shares that their issuer or the owner took back, as far as this node knows. */
async function endedAsKnown(
  { world: { ledger } }: Machine,
  ns: Namespace,
  artifact: Uint8Array | undefined,
): Promise<Set<string>> {
  const ended = new Set<string>()
  for (const [name, claims] of sharesIn(ledger, artifact)) {
    for (const { hash, header } of [...(ledger.revocations.get(name) ?? [])]) {
      const isSure = equalBytes(header.author, claims.issuer) || equalBytes(header.grant ?? noBytes, ns.id)
      if (isSure && (await ns.held.has(hash))) ended.add(name)
    }
  }
  return ended
}

/** Shares of an artifact that this node has heard of. */
async function sharesAsKnown(
  { world: { ledger } }: Machine,
  ns: Namespace,
  artifact: Uint8Array | undefined,
): Promise<Set<string>> {
  const known = new Set<string>()
  for (const [name, claims] of sharesIn(ledger, artifact)) {
    if ((await ns.shares.entriesOf(claims.artifact, claims.jti)).length > 0) known.add(name)
  }
  return known
}

const noBytes = new Uint8Array(0)

/** Agents that had a role and have none any more, as far as this node knows, with what it knows to have been sealed to them. */
async function removedAsKnown({ world }: Machine, ns: Namespace): Promise<WrittenPut['removed']> {
  const removed = new Map<string, KnownRemoval>()
  for (const [agent, grants] of [...world.ledger.grants]) {
    if (ns.roleOf(bytesOf(agent)) !== undefined) continue
    // Of a grant that does not count, for its author's chain is forked or was cut, the keys are out all the same.
    const standing = [...grants].map((hash) => ns.membership.grantOf(bytesOf(hash))?.live)
    if (!standing.includes(false) || standing.includes(undefined)) continue
    const held = async (hashes: Iterable<string>) => {
      const known = new Set<string>()
      for (const hash of [...hashes]) if (await ns.held.has(bytesOf(hash))) known.add(hash)
      return known
    }
    removed.set(agent, {
      grants: await held(grants),
      revokes: await held((world.ledger.revokes.get(agent) ?? []).map(({ hash }) => toHex(hash))),
      sealings: await held(world.ledger.sealings.get(agent) ?? []),
    })
  }
  return removed
}

function quotaOf(ns: Namespace): Quota {
  return new Quota('enterprise', () => ns.totals.leafBytes)
}

function sealed(text: string, key: ArtifactKey): StoredContent {
  const { leaf, sha256, ...root } = sealInline(Buffer.from(text), key.content)
  return { root: { ...root, inline: true, keyId: key.id }, sha256, leaf }
}
