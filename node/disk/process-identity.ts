import { execFileSync } from 'node:child_process'
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname, uptime } from 'node:os'

/** What tells one process on one machine from every other, also after a reboot or when its pid is used again. */
export interface ProcessIdentity {
  readonly pid: number
  readonly host: string
  /** See bootIdentity. */
  readonly boot: string
  /** When the process started, in the system's own terms; empty where that cannot be told. */
  readonly start: string
  /** Linux's pid namespace, in which `pid` counts; empty where that cannot be told. */
  readonly pids: string
}

/** This process. */
export function ownIdentity(): ProcessIdentity {
  return {
    pid: process.pid,
    host: hostname(),
    boot: bootIdentity(),
    start: processStart(process.pid) ?? '',
    pids: pidNamespace(),
  }
}

/** The running boot: Linux's random boot id, elsewhere `at:` and the second it booted (see sameBoot). */
export function bootIdentity(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  } catch {
    return `at:${Math.round(Date.now() / 1000 - uptime())}`
  }
}

/** Whether two boot identities name one boot. A boot time is known to about a minute: clocks are set. */
export function sameBoot(a: string, b: string): boolean {
  if (a.startsWith('at:') && b.startsWith('at:')) return Math.abs(Number(a.slice(3)) - Number(b.slice(3))) < 60
  return a === b
}

/**
 * Whether that process still runs. One that cannot be asked counts as running.
 *
 * A process of the running boot can be asked whatever its host was called when it was started, provided that its pid counts in
 * our pid namespace. One of another boot is gone if its host is this one; a host of another name may be another machine.
 */
export function isRunning(identity: ProcessIdentity): boolean {
  if (!isNearby(identity)) return true
  if (!sameBoot(identity.boot, bootIdentity())) return false
  const start = processStart(identity.pid)
  if (start === undefined) return false
  return start === '' || identity.start === '' || start === identity.start
}

/** Whether it can be told here that the process has ended. */
export function isNearby({ host, boot, pids }: Pick<ProcessIdentity, 'host' | 'boot' | 'pids'>): boolean {
  // A time of boot is not enough: machines that share a directory may have been started together.
  return (
    host === hostname() ||
    (!boot.startsWith('at:') && boot === bootIdentity() && pids !== '' && pids === pidNamespace())
  )
}

function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return ''
  }
}

/** When the process with this pid started; `undefined` when there is none, empty when that cannot be told. */
function processStart(pid: number): string | undefined {
  if (process.platform === 'linux') {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
      // proc(5): the name, in parentheses, may hold anything; state is field 3, starttime field 22.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      return fields[0] === 'Z' || fields[0] === 'X' ? undefined : (fields[19] ?? '')
    } catch {
      return undefined
    }
  }
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as { code?: string }).code === 'ESRCH') return undefined
  }
  if (process.platform === 'win32') return ''
  try {
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'latin1' }).trim()
  } catch {
    return ''
  }
}
