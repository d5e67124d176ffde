import { join } from 'node:path'
import { CID } from 'multiformats/cid'
import type { LocalEnvironment, OpenNamespace } from '../../sdk/local/index.ts'
import { walkTree } from '../../src/content/index.ts'
import { formatArtifactId, toHex } from '../../src/encoding/index.ts'
import { isHubError } from '../../src/errors.ts'
import {
  clearDerived,
  compareDerived,
  deriveFromLog,
  keySpaces,
  type LogFinding,
  NamespaceKeys,
  rebuildDerived,
} from '../../src/namespace/index.ts'
import type { PackFinding, PackNamespace, PackStore } from '../disk/index.ts'
import type { CheckOptions, CheckReport, Finding } from '../node-types.ts'

interface CheckContext {
  readonly env: LocalEnvironment
  readonly dataDir: string
  readonly packs: PackStore
  readonly namespaces: readonly OpenNamespace[]
}

/** Checks everything that the node has; with `repair`, mends what can be. Writers wait while their namespace's log is checked. */
export async function checkNode(context: CheckContext, options: CheckOptions): Promise<CheckReport> {
  const report = { entries: 0, versions: 0, blocks: 0, bytesRead: 0, findings: [] as Finding[] }
  for (const namespace of context.namespaces) {
    const check = new NamespaceCheck(context, namespace, await context.packs.namespace(namespace.log.idText), options)
    const { findings, ...figures } = await check.run()
    report.entries += figures.entries
    report.versions += figures.versions
    report.blocks += figures.blocks
    report.bytesRead += figures.bytesRead
    report.findings.push(...findings)
  }
  return report
}

const hasBatch = 1_024
const kinds = {
  'missing-pack': 'pack-missing',
  'outside-pack': 'pack-truncated',
  'bad-record': 'block-corrupt',
  'bad-data': 'block-corrupt',
  unreadable: 'block-corrupt',
  'bad-pack-header': 'index-wrong',
} as const satisfies Record<PackFinding['kind'], Finding['kind']>

class NamespaceCheck {
  readonly #context: CheckContext
  readonly #namespace: OpenNamespace
  readonly #blocks: PackNamespace
  readonly #options: CheckOptions
  readonly #findings: Finding[] = []
  #bytesRead = 0

  constructor(context: CheckContext, namespace: OpenNamespace, blocks: PackNamespace, options: CheckOptions) {
    this.#context = context
    this.#namespace = namespace
    this.#blocks = blocks
    this.#options = options
  }

  async run(): Promise<CheckReport> {
    const { log } = this.#namespace
    const damaged = await this.#checkPacks()
    await log.alone(() => this.#checkLog())
    const versions = await this.#checkTrees(damaged)
    const { blocks } = await this.#blocks.usage()
    return { entries: log.entries, versions, blocks, bytesRead: this.#bytesRead, findings: this.#findings }
  }

  /** Index rows against packs; damaged blocks, by digest in hex. */
  async #checkPacks(): Promise<Map<string, PackFinding>> {
    const { readData = false, repair = false, signal, onProgress } = this.#options
    const found: PackFinding[] = []
    const verify = this.#blocks.verify({
      readData,
      ...(signal === undefined ? {} : { signal }),
      onProgress: ({ blocks, totalBlocks, bytes }) => {
        if (readData) this.#bytesRead = bytes
        onProgress?.({ step: 'blocks', done: blocks, total: totalBlocks })
      },
    })
    for await (const finding of verify) found.push(finding)
    if (repair && found.length > 0) {
      await this.#blocks.quarantine(found, {
        directory: join(this.#context.dataDir, 'quarantine', this.#namespace.log.idText),
      })
    }
    const damaged = new Map<string, PackFinding>()
    for (const finding of found) {
      if (finding.digest === undefined)
        this.#report(kinds[finding.kind], `pack ${finding.pack} has a damaged header`, [], false)
      else damaged.set(toHex(finding.digest), finding)
    }
    return damaged
  }

  /** Entries, signatures and chains; then everything derived from them, made a second time and compared byte for byte. */
  async #checkLog(): Promise<void> {
    const { log } = this.#namespace
    const { repair = false, signal, onProgress } = this.#options
    const scratch = new NamespaceKeys(log.id, keySpaces.scratch)
    const progress = (done: number, total: number) => onProgress?.({ step: 'log', done, total })
    try {
      // Left by a check that was cut off.
      await clearDerived(log, scratch)
      const findings = await deriveFromLog(log, scratch, { signal, onProgress: progress })
      for (const finding of findings) this.#reportEntry(finding)
      const different = await compareDerived(log, scratch, log.keys)
      if (different.length > 0 && repair) await rebuildDerived(log, { signal })
      for (const table of different) {
        const kind = table === 'references' || table === 'totals' ? 'usage-differs' : 'catalog-differs'
        this.#report(kind, `table ${table} is not what the log makes it`, [], repair)
      }
    } finally {
      await clearDerived(log, scratch)
    }
  }

  /** Every live version's blocks are here. Gives how many versions there are. */
  async #checkTrees(damaged: ReadonlyMap<string, PackFinding>): Promise<number> {
    const { log } = this.#namespace
    const { signal, repair = false } = this.#options
    const losses = new Map<string, { message: string; kind: Finding['kind']; artifacts: Set<string> }>()
    const lose = (artifact: Uint8Array, digest: string): void => {
      const finding = damaged.get(digest)
      const known = losses.get(digest) ?? {
        kind: finding === undefined ? 'block-missing' : kinds[finding.kind],
        message:
          finding === undefined
            ? `block ${digest} is missing`
            : `block ${digest} in pack ${finding.pack} at ${finding.offset}: ${finding.kind}`,
        artifacts: new Set<string>(),
      }
      losses.set(digest, known)
      known.artifacts.add(formatArtifactId(artifact))
    }
    let versions = 0
    try {
      const { versions: total } = await log.catalog.counts()
      for await (const { artifact, root } of log.catalog.liveRoots(undefined, { signal })) {
        versions += 1
        this.#options.onProgress?.({ step: 'versions', done: versions, total })
        for (const digest of await this.#missing(root, damaged)) lose(artifact, digest)
      }
    } catch (error) {
      // A catalog that cannot be read is a finding, and is one already; which versions it would list is not known.
      if (!isHubError(error, 'CORRUPT') || !this.#findings.some(({ kind }) => kind === 'catalog-differs')) throw error
    }
    for (const { kind, message, artifacts } of losses.values()) this.#report(kind, message, [...artifacts], false)
    for (const [digest, finding] of damaged) {
      if (losses.has(digest)) continue
      this.#report(
        kinds[finding.kind],
        `block ${digest} in pack ${finding.pack}: ${finding.kind}; no live version needs it`,
        [],
        repair,
      )
    }
    return versions
  }

  /** Digests, in hex, of what a version lacks. A missing node stands for all below it. */
  async #missing(
    root: Parameters<typeof walkTree>[0]['root'],
    damaged: ReadonlyMap<string, PackFinding>,
  ): Promise<string[]> {
    const { blocks } = this.#namespace.log
    const missing: string[] = []
    let batch: Uint8Array[] = []
    const flush = async () => {
      const here = await blocks.has(batch)
      batch.forEach((digest, at) => {
        const name = toHex(digest)
        if (here[at] !== true || damaged.has(name)) missing.push(name)
      })
      batch = []
    }
    try {
      for await (const block of walkTree({ root, blocks, signal: this.#options.signal })) {
        if (block.kind === 'node') continue
        batch.push(block.digest)
        if (batch.length === hasBatch) await flush()
      }
    } catch (error) {
      if (!isHubError(error, 'UNAVAILABLE') && !isHubError(error, 'CORRUPT')) throw error
      const { cid } = error.details
      missing.push(toHex(typeof cid === 'string' ? CID.parse(cid).multihash.digest : root.digest))
    }
    await flush()
    return missing
  }

  #reportEntry({ place, problem }: LogFinding): void {
    const chain = toHex(place.subarray(0, 16))
    const seq = Number(Buffer.from(place).readBigUInt64BE(16))
    this.#report('entry-corrupt', `entry ${seq} of chain ${chain}: ${problem}`, [], false)
  }

  #report(kind: Finding['kind'], message: string, artifacts: readonly string[], repaired: boolean): void {
    this.#findings.push({ kind, namespace: this.#namespace.log.idText, message, artifacts, repaired })
  }
}
