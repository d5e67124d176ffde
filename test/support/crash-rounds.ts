import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { numbers } from '../../node/disk/test-support/simulated-disk.ts'
import { startNode } from '../../node/index.ts'
import { withCompileCache } from './compile-cache.ts'
import { type Acknowledged, type Intent, Ledger } from './ledger.ts'
import { bundled } from './programs.ts'

/** What a series of kills came to. */
export interface CrashRounds {
  readonly kills: number
  /** Operations that were acknowledged before a kill. */
  readonly acknowledged: number
  /** Operations that a kill left unanswered. */
  readonly unanswered: number
  /** Versions read back, counted again after every kill. */
  readonly versionsRead: number
}

const child = bundled('crash')

/**
 * Has a child process work on one data directory and kills it with SIGKILL at a random moment, `rounds` times over;
 * after each kill a node is started there, holds to everything that was acknowledged, and checks clean to the last byte.
 * The numbers from `seed` decide what is done and after how many lines the kill is sent; the machine decides the rest.
 */
export async function killRepeatedly({ seed, rounds }: { seed: number; rounds: number }): Promise<CrashRounds> {
  const base = await mkdtemp(join(tmpdir(), 'artifact-hub-crash-'))
  const dataDir = join(base, 'data')
  const random = numbers(seed)
  const ledger = new Ledger()
  const sum = { kills: 0, acknowledged: 0, unanswered: 0, versionsRead: 0 }
  try {
    for (let round = 0; round < rounds; round++) {
      const { began, acknowledged } = await killOnce(base, ledger, `${seed}-${round}`, random)
      sum.kills += 1
      sum.acknowledged += acknowledged
      sum.unanswered += began - acknowledged
      await using node = await startNode({ network: 'offline', dataDir })
      sum.versionsRead += await ledger.verify(node.client)
      const { findings } = await node.check({ readData: true })
      if (findings.length > 0) throw new Error(`check found ${JSON.stringify(findings)}`)
    }
    await rm(base, { recursive: true })
    return sum
  } catch (cause) {
    throw new Error(`after kill ${sum.kills} with seed ${seed} (left in ${base}): ${(cause as Error).message}`, {
      cause,
    })
  }
}

/** One run of the child, from its start to its death. */
async function killOnce(base: string, ledger: Ledger, run: string, random: () => number) {
  const seed = String(Math.floor(random() * 2 ** 31))
  const process_ = spawn(process.execPath, [child, join(base, 'data'), seed, run], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...withCompileCache },
  })
  const complaints: string[] = []
  process_.stderr.on('data', (bytes) => complaints.push(String(bytes)))
  const exited = once(process_, 'close')
  const keys = new Map<number, number>()
  let acknowledged = 0
  // Most kills come amid the work, some while the node starts.
  const early = random() < 0.1
  const linesUntilKill = Math.floor(random() * 60)
  const kill = () => process_.kill('SIGKILL')
  const whileStarting = early ? setTimeout(kill, random() * 300) : undefined
  let lines = 0
  for await (const line of createInterface(process_.stdout)) {
    const said = parsed(line)
    if (said === undefined) break
    if (said.intent !== undefined) keys.set(said.begin as number, ledger.begin(said.intent))
    if (said.acknowledge !== undefined) {
      ledger.acknowledge(keys.get(said.acknowledge) as number, said.answer)
      acknowledged += 1
    }
    // Not at once: a line is always said at the same points of the work.
    if (lines++ === linesUntilKill) setTimeout(kill, random() * 15)
  }
  const [code, signal] = await exited
  clearTimeout(whileStarting)
  if (signal !== 'SIGKILL') throw new Error(`the child ended by itself (${code}): ${complaints.join('')}`)
  return { began: keys.size, acknowledged }
}

interface Line {
  readonly begin?: number
  readonly intent?: Intent
  readonly acknowledge?: number
  readonly answer?: Acknowledged
}

/** `undefined` for a line that the kill cut off. */
function parsed(line: string): Line | undefined {
  try {
    return JSON.parse(line) as Line
  } catch {
    return undefined
  }
}
