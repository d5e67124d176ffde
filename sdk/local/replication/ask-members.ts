import type { HoldingAsker, Holds, Scheduler } from '../../../src/exchange/index.ts'
import { formatDid } from '../../../src/identity/index.ts'
import { maxHoldersAsked, statusTimeoutMs } from '../../../src/limits.ts'

/** What is asked of a member, and of how it is kept by the key in what comes of it. */
type Questions = ReadonlyMap<string, Parameters<HoldingAsker['ask']>[1]>

interface AskMembersOptions {
  readonly holdings: Pick<HoldingAsker, 'ask'>
  readonly scheduler: Scheduler
  /** Agents (32 bytes) in the order to ask them in. */
  readonly members: readonly Uint8Array[]
  readonly questionsTo: (member: Uint8Array) => Questions
  readonly signal: AbortSignal
}

/** DIDs: every member is in one of the three. */
interface MembersAsked {
  /** By DID, what it answered to each question. */
  readonly answers: ReadonlyMap<string, ReadonlyMap<string, Holds>>
  /** Who could not be asked, or had not answered when the time was over; sorted. */
  readonly unreachable: readonly string[]
  /** Who had no turn before the time was over; sorted. */
  readonly notAsked: readonly string[]
}

/**
 * Asks members what they hold, so many at once, each question once. Answers after `statusTimeoutMs` at the latest, however many there are
 * and however long it takes to find that they cannot be reached.
 * @throws the signal's reason
 */
export async function askMembers(options: AskMembersOptions): Promise<MembersAsked> {
  const { holdings, scheduler, questionsTo, signal } = options
  const waiting = [...options.members]
  const answers = new Map<string, ReadonlyMap<string, Holds>>()
  const unreachable: string[] = []
  const over = new AbortController()
  const stopTimer = scheduler.setTimer(statusTimeoutMs, () =>
    over.abort(new DOMException('it took long', 'TimeoutError')),
  )
  const both = AbortSignal.any([signal, over.signal])
  const askNext = async (): Promise<void> => {
    for (let member = waiting.shift(); member !== undefined; member = waiting.shift()) {
      const did = formatDid(member)
      const said = new Map<string, Holds>()
      try {
        for (const [key, question] of questionsTo(member)) said.set(key, await holdings.ask(member, question, both))
        answers.set(did, said)
      } catch {
        signal.throwIfAborted()
        unreachable.push(did)
      }
      if (over.signal.aborted) return
    }
  }
  try {
    await Promise.all(Array.from({ length: maxHoldersAsked }, askNext))
  } finally {
    stopTimer()
  }
  return { answers, unreachable: unreachable.sort(), notAsked: waiting.map(formatDid).sort() }
}
