const filler = 0xff

/**
 * A value as it is given to LevelDB: never empty, for classic-level 3.0.0 copies an empty one into memory that it does not free before the process ends
 * (`ToSlice` and `DisposeSliceBuffer` in its binding.cc). Values that are nothing but bytes of 255, none too, get one more.
 */
export function toLevel(value: Uint8Array): Uint8Array {
  return isFiller(value) ? new Uint8Array(value.length + 1).fill(filler) : value
}

/** What was given to `toLevel`. Databases from before it have empty values: they are that. */
export function fromLevel(stored: Uint8Array): Uint8Array {
  return stored.length > 0 && isFiller(stored) ? stored.subarray(1) : stored
}

function isFiller(value: Uint8Array): boolean {
  if (value.length > 0 && value[0] !== filler) return false
  return value.every((byte) => byte === filler)
}
