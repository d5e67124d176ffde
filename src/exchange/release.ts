/** Gives back memory that a stream gave and that is copied: the collector would let many of these pile up, and then run at length. */
export function release({ buffer, byteLength }: Uint8Array): void {
  // Memory that more than these bytes are in may be somebody else's as well.
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0)
}
