import { equalBytes } from '../../../src/encoding/index.ts'
import { compareClocks } from '../../../src/membership/index.ts'
import type { Ending } from '../ended.ts'
import type { OpenNamespace } from '../namespace-book.ts'

type Ended = Omit<Ending, 'learnedMs'>

/**
 * Why a group, or a namespace that this agent has by way of groups alone, is over for it, by what is here of them; `undefined` while it is not. What an agent
 * has by name stays where it is when the role ends: whoever joined it removes it.
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
    const given = newest(membership.everGrantedTo(self))
    if (ending === undefined || (row.kind === 'namespace' && given?.via === undefined)) return undefined
    return { reason: 'REMOVED', by: ending.author, atMs: ending.clock.wallMs }
  }
  if (row.kind === 'group' || equalBytes(row.owner, self)) return undefined
  const over = membership.grantsOf(self).map(({ via }) => via && isOver(via))
  const times = over.flatMap((one) => (one === undefined ? [] : [one.atMs]))
  if (times.length === 0 || times.length < over.length) return undefined
  return { reason: 'GROUP', by: undefined, atMs: Math.max(...times) }
}
