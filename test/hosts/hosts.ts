import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'

const prefix = 'ahub-test-'

/** Whether hosts can be made here: this is root, and the programs are there. */
export const canMakeHosts =
  process.platform === 'linux' &&
  process.getuid?.() === 0 &&
  ['ip', 'nft'].every((program) => spawnSync(program, ['-V']).status === 0)

/** A machine of its own to all that runs in it: interfaces, addresses, routes, firewall. */
export interface Host {
  /** What `ip netns exec` takes. */
  readonly namespace: string
}

/** Network namespaces of a test, and what joins them; nothing outside of them is touched, and all of it goes with them. */
export class Hosts implements Disposable {
  readonly #made: string[] = []
  #links = 0

  constructor() {
    removeLeftovers()
  }

  host(name: string): Host {
    const namespace = `${prefix}${process.pid}-${name}`
    run('ip', 'netns', 'add', namespace)
    this.#made.push(namespace)
    run('ip', '-n', namespace, 'link', 'set', 'lo', 'up')
    return { namespace }
  }

  /** Joins hosts to a bridge of their own, each under its address (`192.0.2.1/24`). */
  wire(name: string, ends: readonly (readonly [host: Host, address: string])[]): void {
    const bridge = this.host(`wire-${name}`).namespace
    run('ip', '-n', bridge, 'link', 'add', 'bridge', 'type', 'bridge')
    run('ip', '-n', bridge, 'link', 'set', 'bridge', 'up')
    for (const [{ namespace }, address] of ends) {
      const link = `eth${this.#links++}`
      run('ip', '-n', namespace, 'link', 'add', link, 'type', 'veth', 'peer', 'name', link, 'netns', bridge)
      run('ip', '-n', bridge, 'link', 'set', link, 'master', 'bridge', 'up')
      // Loss takes packets of a wire's size, not 64 KiB at once.
      run('ip', '-n', namespace, 'link', 'set', link, 'gso_max_segs', '1', 'up')
      run('ip', '-n', namespace, 'address', 'add', address, 'dev', link)
    }
  }

  gateway({ namespace }: Host, address: string): void {
    run('ip', '-n', namespace, 'route', 'add', 'default', 'via', address)
  }

  /** Lets a host pass on what is for others. */
  forward({ namespace }: Host): void {
    run('ip', 'netns', 'exec', namespace, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward')
  }

  /** Sets a host's firewall: chains of nftables in place of those that it had. */
  firewall({ namespace }: Host, ...chains: readonly string[]): void {
    const rules = chains.map((chain, at) => `chain c${at} {\n${chain}\n}`).join('\n')
    const input = `table inet test\ndelete table inet test\ntable inet test {\n${rules}\n}\n`
    execFileSync('ip', ['netns', 'exec', namespace, 'nft', '-f', '-'], { input, stdio: ['pipe', 'ignore', 'pipe'] })
  }

  /** Packets that the rules with a counter have met. */
  counted({ namespace }: Host): number {
    const listed = execFileSync('ip', ['netns', 'exec', namespace, 'nft', 'list', 'table', 'inet', 'test'])
    return [...listed.toString().matchAll(/counter packets (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0)
  }

  [Symbol.dispose](): void {
    for (const namespace of this.#made.reverse()) run('ip', 'netns', 'delete', namespace)
    this.#made.length = 0
  }
}

function run(program: string, ...args: readonly string[]): void {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
}

/** Those of a run that was killed: its processes end with their standard input. */
function removeLeftovers(): void {
  for (const name of namespaces()) {
    const pid = new RegExp(`^${prefix}(\\d+)-`).exec(name)?.[1]
    if (pid !== undefined && !isAlive(Number(pid))) run('ip', 'netns', 'delete', name)
  }
}

function namespaces(): string[] {
  try {
    return readdirSync('/run/netns')
  } catch {
    // There never was one.
    return []
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
