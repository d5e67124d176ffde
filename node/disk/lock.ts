import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, rename, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ArtifactHubError, isHubError } from '../../src/errors.ts'
import { diskError, systemCode } from './files.ts'
import { isNearby, isRunning, ownIdentity, type ProcessIdentity } from './process-identity.ts'

interface Claim extends ProcessIdentity {
  /** For people: when the lock was taken, ISO 8601. */
  readonly since: string
}

/** How long two that start at one moment try to settle who goes first, milliseconds. */
const settleMs = 5_000
const pollMs = 15

/**
 * Holds a directory for this process, until `release` or the end of the process.
 *
 * Every process that wants it puts a claim of its own, under a name that nobody else ever uses, into `lock/`, and then
 * looks for others. A claim appears whole (it is renamed into place) and before its owner looks, so of two processes at
 * least one sees the other; whoever sees a living claim gives way. A dead process's claim may be removed by anyone at
 * any time, because its name cannot come to mean a living one: this is what makes taking over safe. Of two that see
 * each other the first by name waits and the other withdraws. A holder marks itself (`held-`), so that others need not wait.
 */
export class DirectoryLock {
  readonly #files: readonly string[]
  #releasing: Promise<void> | undefined

  private constructor(files: readonly string[]) {
    this.#files = files
  }

  /**
   * @param directory where the folder `lock` is or goes
   * @param forUser the directory as the user knows it, for messages
   * @throws LOCKED naming the process that holds it; STORAGE_FULL when nobody does; STORAGE_FAILED
   */
  static async acquire(directory: string, forUser: string): Promise<DirectoryLock> {
    const folder = join(directory, 'lock')
    const id = `${String(process.pid).padStart(10, '0')}-${randomBytes(8).toString('hex')}`
    const claim = join(folder, `claim-${id}`)
    const held = join(folder, `held-${id}`)
    const draft = join(folder, `new-${id}`)
    try {
      await mkdir(folder, { mode: 0o700 }).catch((error) => {
        if (systemCode(error) !== 'EEXIST') throw error
      })
      const text = JSON.stringify({ ...ownIdentity(), since: new Date().toISOString() } satisfies Claim)
      await writeFile(draft, text, { flag: 'wx', mode: 0o600 })
      const deadline = performance.now() + settleMs
      await rename(draft, claim)
      for (;;) {
        const other = await firstRival(folder, id)
        if (!other) break
        const giveWay = other.held || other.id < id || performance.now() > deadline
        if (giveWay) throw lockedError(other.claim, forUser)
        await delay(pollMs)
      }
      await writeFile(held, '', { flag: 'wx', mode: 0o600 })
      return new DirectoryLock([held, claim])
    } catch (cause) {
      for (const path of [held, claim, draft]) await unlink(path).catch(() => {})
      const error = diskError(cause, `lock ${forUser}`)
      // Whoever has it matters more than that there is no room to ask.
      const other = isHubError(error, 'STORAGE_FULL') ? await firstRival(folder, id).catch(() => undefined) : undefined
      throw other === undefined ? error : lockedError(other.claim, forUser)
    }
  }

  /** Lets others in. Idempotent. */
  release(): Promise<void> {
    this.#releasing ??= this.#release()
    return this.#releasing
  }

  async #release(): Promise<void> {
    for (const path of this.#files) {
      await unlink(path).catch((error) => {
        if (systemCode(error) !== 'ENOENT') throw diskError(error, 'remove the lock')
      })
    }
  }
}

/** The living claim of somebody else that most stands in the way: a holder's, else the first by name. Removes dead ones. */
async function firstRival(
  folder: string,
  ownId: string,
): Promise<{ id: string; held: boolean; claim: Claim } | undefined> {
  const names = await readdir(folder)
  let first: { id: string; held: boolean; claim: Claim } | undefined
  for (const name of names.filter((one) => /^(new|claim)-/.test(one)).sort()) {
    const id = name.slice(name.indexOf('-') + 1)
    if (id === ownId) continue
    const claim = await readClaim(join(folder, name))
    // A draft may be half written: only a claim speaks for itself, and a draft goes with its claim or when it is whole.
    if (!claim) continue
    if (!isRunning(claim)) {
      for (const kind of ['held', 'claim', 'new']) await unlink(join(folder, `${kind}-${id}`)).catch(() => {})
      continue
    }
    if (name.startsWith('new-')) continue
    const held = names.includes(`held-${id}`)
    if (held) return { id, held, claim }
    first ??= { id, held, claim }
  }
  return first
}

async function readClaim(path: string): Promise<Claim | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Claim
  } catch (error) {
    if (error instanceof SyntaxError || systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

function lockedError(claim: Claim, forUser: string): ArtifactHubError {
  const holder = `process ${claim.pid} on ${claim.host} since ${claim.since}`
  const message = isNearby(claim)
    ? `${forUser} is in use by ${holder}; stop it, or use another directory with --data-dir or ARTIFACT_HUB_DIR`
    : `${forUser} is in use by ${holder}. That is another machine or container, and from here it cannot be told whether it ` +
      `still runs. If it does, stop it, or use another directory with --data-dir or ARTIFACT_HUB_DIR. If it has ended ` +
      `without letting go (a crash, a kill), make sure that nothing else uses the directory, remove the folder ` +
      `${join(forUser, 'lock')} and start again`
  return new ArtifactHubError('LOCKED', message, {
    details: { path: forUser, pid: claim.pid, host: claim.host, since: claim.since },
  })
}
