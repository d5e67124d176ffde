import { Gate } from './gate.ts'
import type { Scheduler } from './scheduler.ts'

/** Resolves after that many milliseconds. @throws the signal's reason */
export async function elapsed(scheduler: Scheduler, delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  const gate = new Gate()
  const stop = scheduler.setTimer(delayMs, () => gate.open())
  try {
    await gate.wait(signal)
  } finally {
    stop()
  }
}
