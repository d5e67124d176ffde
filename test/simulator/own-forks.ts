import { equalBytes, toHex } from '../../src/encoding/index.ts'
import { decodeUnverifiedEntry } from '../../src/log/index.ts'
import type { Machine, World } from './machine.ts'

/** Nobody honest whose machine was not copied signs two entries for one place, whatever it lost, left or was cut off from: neither would count. */
export function checkOwnForks({ ledger, groupLedger }: World, machines: readonly Machine[]): void {
  const places = new Map<string, string>()
  for (const bytes of [...ledger.signed.values(), ...groupLedger.signed.values()]) {
    const { header, hash } = decodeUnverifiedEntry(bytes)
    const { author, grant, incarnation, seq } = header
    const [machine, copy] = machines.filter(({ id }) => equalBytes(id, author))
    if (machine?.isHonest !== true || copy !== undefined || grant === undefined) continue
    const place = `${toHex(author)} ${toHex(grant)} ${toHex(incarnation)} ${seq}`
    const known = places.get(place) ?? toHex(hash)
    if (known !== toHex(hash))
      throw new Error(
        `${machine.name} forked its own chain at ${seq}: ${known.slice(0, 8)}, ${toHex(hash).slice(0, 8)}`,
      )
    places.set(place, known)
  }
}
