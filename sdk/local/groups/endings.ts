import { equalBytes } from '../../../src/encoding/index.ts'
import { compareClocks } from '../../../src/membership/index.ts'
import type { Ending } from '../ended.ts'
import type { OpenNamespace } from '../namespace-book.ts'

type Ended = Omit<Ending, 'learnedMs'>

/**
 * Why a group or a namespace is over for this agent, by what is here of it and of the groups by way of which it has it; `undefined` while it is not. By name
 * and by way of a group it is over when all of it is.
 * @param isOver whether this agent is in a group (32 bytes) no more
 */
export function endingOf(
  { row, log }: OpenNamespace,
  isOver: (group: Uint8Array) => { readonly atMs: number } | undefined,
): Ended | undefined {
  const { membership, env } = log
  const self = env.agent.publicKey
  const newest = <T extends { clock: Parameters<typeof compareClocks>[0] }>(all: readonly T[]): T | undefined =>
    [...all].sort((one, two) => compareClocks(two.clock, one.clock, '', ''))[0]
  if (log.roleOf(self) === undefined) {
    const ending = newest(membership.endingsOf(self))
    if (ending === undefined) return undefined
    return { reason: 'REMOVED', by: ending.author, atMs: ending.clock.wallMs }
  }
  if (row.kind === 'group' || equalBytes(row.owner, self)) return undefined
  const over = membership.grantsOf(self).map(({ via }) => via && isOver(via))
  const times = over.flatMap((one) => (one === undefined ? [] : [one.atMs]))
  if (times.length === 0 || times.length < over.length) return undefined
  return { reason: 'GROUP', by: undefined, atMs: Math.max(...times) }
}
