/** Time, handed in: a real clock in a node, a virtual one in a simulator. */
export interface Scheduler {
  /** Milliseconds since 1970. It may jump: nothing waits by comparing it. */
  now(): number
  /** Runs `work` once after that many milliseconds, unless the returned function is called before. */
  setTimer(delayMs: number, work: () => void): () => void
}
