import { bytesText } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import { boxesByLabel, type LabelledBox } from './labelled-boxes.ts'

/** What an entry gives for a capability: the capability itself, or boxes of one key with one label. */
export type Gift = GivenShare | GivenBoxes

/** A capability. */
export interface GivenShare {
  readonly kind: 'share'
  /** The same for all gifts of one namespace that say the same. */
  readonly name: string
  /** 16 bytes. */
  readonly jti: Uint8Array
}

/** Boxes of one key with one label: several where a link is for several gateways. */
export interface GivenBoxes {
  readonly kind: 'boxes'
  /** As of a share. */
  readonly name: string
  /** Not empty. */
  readonly boxes: readonly LabelledBox[]
}

/** What is given by an entry: first the share, then boxes as they stand in it. */
export function giftsOf({ header: { data }, keys }: Pick<Entry, 'header' | 'keys'>): Gift[] {
  if (data === undefined) return []
  const { artifactSalt, jti } = data
  const artifact = bytesText(artifactSalt)
  const boxes = [...boxesByLabel({ keys })].map(([name, some]): GivenBoxes => {
    return { kind: 'boxes', name: artifact + name, boxes: some }
  })
  return jti === undefined ? boxes : [{ kind: 'share', name: artifact + bytesText(jti), jti }, ...boxes]
}

/** By name, how many boxes an entry has. */
export function boxCountsOf(entry: Pick<Entry, 'header' | 'keys'>): ReadonlyMap<string, number> {
  return new Map(giftsOf(entry).map((gift) => [gift.name, gift.kind === 'boxes' ? gift.boxes.length : 0]))
}
