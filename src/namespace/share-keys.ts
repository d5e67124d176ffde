import type { Audience } from '../capability/index.ts'
import { bytesText, equalBytes, toHex } from '../encoding/index.ts'
import { maxBoxesInEntry } from '../limits.ts'
import type { KeySection } from '../log/index.ts'
import type { EntrySeat } from '../membership/index.ts'
import type { ArtifactKey, Keyring, SealingItem } from '../sharing/index.ts'
import { isSuperseded } from './key-rows.ts'
import { type KeyUse, keyUsesOf, onlyKeyOf } from './key-uses.ts'
import type { UsedLabel } from './labelled-boxes.ts'
import type { OpenBox } from './open-boxes.ts'
import type { NamespaceParts } from './parts.ts'
import type { Share } from './share-book.ts'
import type { SharingView } from './sharing-view.ts'

/** Only versions with a number above it are for the audience. */
function afterOf({ claims }: Share): number {
  return claims.kind === 'share' ? claims.after : 0
}

/** Whether the version of that number is for the audience of a share. */
export function isFor(share: Share, gen: number): boolean {
  return gen > afterOf(share)
}

/**
 * Whether somebody may know an artifact key who should not know what is written next: by the ways to it, or because it was sealed for a
 * capability that is not in force any more or to an earlier epoch of a group; or whether one who is to read what is written next
 * must not have it, for versions from before their share are under it.
 */
export async function isKeySuperseded(
  parts: NamespaceParts,
  view: SharingView,
  artifact: Uint8Array,
  keyId: Uint8Array,
): Promise<boolean> {
  const row = await view.secrets.get(parts.keys.key('artifactKeys', artifact, keyId))
  if (isSuperseded(view.membership, row, keyId)) return true
  const labels = await view.labelsOf(artifact, keyId)
  const shares = await view.sharesOf(artifact)
  if (labels.length === 0 && shares.length === 0) return false
  // Anybody who may write can give a share the jti of another, and a box may be for either.
  const byJti = Map.groupBy(shares, ({ claims }) => bytesText(claims.jti))
  const isCurrent = (label: UsedLabel) =>
    byJti.get(bytesText(label.jti))?.every((share) => view.isCurrent(label, share))
  if (!labels.every((label) => isCurrent(label) === true)) return true
  const boxed = new Set(labels.map(({ jti }) => bytesText(jti)))
  const later = shares.filter((share) => afterOf(share) > 0 && !boxed.has(bytesText(share.claims.jti)))
  const waiting = later.filter((share) => view.isInForce(share))
  if (waiting.length === 0) return false
  const firstGen = (await keyUsesOf(parts, artifact)).find((use) => equalBytes(use.keyId, keyId))?.firstGen ?? 0
  return waiting.some((share) => firstGen <= afterOf(share))
}

/** Whether a share's audience is to have a key: of live versions that are for it, and of none that is not. */
export function isKeyDue(share: Share, { firstGen, lastLiveGen }: KeyUse): boolean {
  const after = afterOf(share)
  return lastLiveGen > after && (after === 0 || firstGen > after)
}

/** What `keysDue` goes by. Cheap for an artifact that has had one key, as most have. */
export async function usesForShares(parts: NamespaceParts, artifact: Uint8Array, gen: number): Promise<KeyUse[]> {
  const only = await onlyKeyOf(parts, artifact)
  if (only !== undefined) return [{ keyId: only, firstGen: 1, lastLiveGen: gen }]
  return await keyUsesOf(parts, artifact)
}

/** What seals one key for shares. */
export function itemsFor(key: ArtifactKey, shares: readonly Share[], view: SharingView): SealingItem[] {
  return shares.flatMap((share) =>
    view.recipientsOf(share).map(({ publicKey: recipient, label }) => ({ key, recipient, label })),
  )
}

/** Entries with boxes of one label, and which of them counts, once that was looked at. */
interface Boxes {
  readonly entries: Uint8Array[]
  counting: Promise<EntrySeat | undefined> | undefined
}

/** In place of an epoch, of boxes that are sealed to an agent. */
const noEpoch = ''

/**
 * By which box of a key, of those that are there, the audience of each of some shares can open it; `undefined` of one that lacks the key. What many share is looked at once: anyone who may
 * write can give any number of shares, and of boxes, one jti.
 */
export async function boxesFor(
  view: SharingView,
  labels: readonly UsedLabel[],
  shares: readonly Share[],
): Promise<ReadonlyMap<Share, OpenBox | undefined>> {
  const byJti = new Map<string, Map<string, Boxes>>()
  for (const { jti, epoch, entries } of labels) {
    const byEpoch = byJti.get(bytesText(jti)) ?? new Map<string, Boxes>()
    byJti.set(bytesText(jti), byEpoch)
    const name = epoch === undefined ? noEpoch : toHex(epoch)
    const boxes = byEpoch.get(name) ?? { entries: [], counting: undefined }
    byEpoch.set(name, boxes)
    boxes.entries.push(...entries)
  }
  const seen = new Map<string, OpenBox | undefined>()
  const openTo = async ({ kind, id }: Audience, jti: string): Promise<OpenBox | undefined> => {
    const byEpoch = byJti.get(jti)
    if (byEpoch === undefined) return undefined
    const name = kind === 'agent' ? jti : jti + bytesText(id)
    if (seen.has(name)) return seen.get(name)
    let open: OpenBox | undefined
    const epochs = kind === 'agent' ? new Set([noEpoch]) : view.epochsOf(id)
    for (const epoch of epochs.intersection(byEpoch)) {
      const boxes = byEpoch.get(epoch) as Boxes
      boxes.counting ??= view.countingOf(boxes.entries)
      const seat = await boxes.counting
      if (seat !== undefined) open ??= { seat, group: kind === 'agent' ? undefined : id, epoch }
    }
    seen.set(name, open)
    return open
  }
  const found = new Map<Share, OpenBox | undefined>()
  for (const share of shares) {
    const { jti, audience } = share.claims
    let open: OpenBox | undefined
    for (const one of audience) open ??= await openTo(one, bytesText(jti))
    found.set(share, open)
  }
  return found
}

/** Keys sections of at most so many boxes, the first of at most `first`; the others are each of one key. */
export function* sectionsOf(
  keyring: Keyring,
  artifact: Uint8Array,
  items: readonly SealingItem[],
  { first, random }: { first: number; random: (length: number) => Uint8Array },
): Generator<KeySection> {
  for (let at = 0; at < items.length; ) {
    const key = items[at]?.key
    const others = items.slice(at, at + (at === 0 ? first : maxBoxesInEntry))
    const end = at === 0 ? -1 : others.findIndex((item) => item.key !== key)
    const some = end === -1 ? others : others.slice(0, end)
    yield keyring.sealKeys(artifact, some, random(32))
    at += some.length
  }
}
