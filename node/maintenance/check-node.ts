import { join } from 'node:path'
import { CID } from 'multiformats/cid'
import type { LocalEnvironment, OpenNamespace } from '../../sdk/local/index.ts'
import { walkTree } from '../../src/content/index.ts'
import { formatArtifactId, toHex } from '../../src/encoding/index.ts'
import { isHubError } from '../../src/errors.ts'
import {
  type CountedBlocks,
  clearDerived,
  compareDerived,
  deriveFromLog,
  type LogFinding,
  recordDamage,
  replaceDerived,
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
    options.signal?.throwIfAborted()
    const checked = await checkNamespace(context, namespace, options)
    if (checked === undefined) continue
    const { findings, ...figures } = checked
    report.entries += figures.entries
    report.versions += figures.versions
    report.blocks += figures.blocks
    report.bytesRead += figures.bytesRead
    report.findings.push(...findings)
  }
  return report
}

/** `undefined` when it is deleted before its check ends: what was seen of it is half of it at best. */
async function checkNamespace(
  context: CheckContext,
  namespace: OpenNamespace,
  options: CheckOptions,
): Promise<CheckReport | undefined> {
  // Asked for in the step that sees it open, its packs are those that are open: no folder is made again.
  if (namespace.log.closed) return undefined
  const blocks = context.packs.namespace(namespace.log.folder)
  try {
    const report = await new NamespaceCheck(context, namespace, await blocks, options).run()
    return namespace.log.closed ? undefined : report
  } catch (error) {
    options.signal?.throwIfAborted()
    if (!namespace.log.closed) throw error
    return undefined
  }
}

const hasBatch = 1_024
const kinds = {
  'missing-pack': 'pack-missing',
  'outside-pack': 'pack-truncated',
  'bad-record': 'block-corrupt',
  'bad-data': 'block-corrupt',
  unreadable: 'block-unreadable',
  'bad-pack-header': 'index-wrong',
} as const satisfies Record<PackFinding['kind'], Finding['kind']>

const lossWords = {
  'block-missing': 'is missing',
  'block-corrupt': 'is damaged',
  'block-unreadable': 'cannot be read',
} as const
type LossKind = keyof typeof lossWords

/** Tables that trees are read for. */
const countingTables: ReadonlySet<string> = new Set(['references', 'totals'])

/** What live versions lack. */
interface Trees {
  readonly versions: number
  /** By digest in hex. */
  readonly losses: ReadonlyMap<string, Loss>
  /** Whether some tree was not seen whole: which blocks hang below the missing node is not known. */
  readonly cutShort: boolean
}

interface Loss {
  readonly kind: Finding['kind']
  readonly message: string
  readonly artifacts: Set<string>
}

class NamespaceCheck {
  readonly #namespace: OpenNamespace
  readonly #blocks: PackNamespace
  readonly #options: CheckOptions
  readonly #findings: Finding[] = []
  readonly #damaged = new Map<string, PackFinding>()
  /** Of these, out of the index now. */
  readonly #quarantined = new Set<string>()
  /** Nodes of trees that the disk gave an error for, which may pass, by digest in hex. */
  readonly #unreadable = new Set<string>()
  readonly #directory: string
  #bytesRead = 0

  constructor(context: CheckContext, namespace: OpenNamespace, blocks: PackNamespace, options: CheckOptions) {
    this.#namespace = namespace
    this.#blocks = blocks
    this.#options = options
    this.#directory = join(context.dataDir, 'quarantine', namespace.log.folder)
  }

  async run(): Promise<CheckReport> {
    const { log } = this.#namespace
    const { readData = false, repair = false } = this.#options
    await this.#checkPacks(readData)
    await log.alone(() => this.#checkLog())
    let trees = await this.#checkTrees()
    if (repair && [...trees.losses.values()].some(({ kind }) => kind === 'block-missing')) {
      trees = await this.#findAgain(trees)
    }
    this.#reportBlocks(trees)
    const { blocks } = await this.#blocks.usage()
    const { versions } = trees
    return { entries: log.totals.entries, versions, blocks, bytesRead: this.#bytesRead, findings: this.#findings }
  }

  /** The namespace's blocks without those that the disk gives an error for: one that is bad in a place must not hide the rest. */
  get #readable(): CountedBlocks {
    const { blocks } = this.#namespace.log
    return {
      has: (digests) => blocks.has(digests),
      read: async (digest, options) =>
        await blocks.read(digest, options).catch((error) => {
          if (!isHubError(error, 'STORAGE_FAILED')) throw error
          this.#unreadable.add(toHex(digest))
          return undefined
        }),
    }
  }

  /** Index rows against packs. With repair, what was read and is wrong leaves the index. */
  async #checkPacks(readData: boolean): Promise<void> {
    const { repair = false, signal, onProgress } = this.#options
    const found: PackFinding[] = []
    const verify = this.#blocks.verify({
      readData,
      ...(signal === undefined ? {} : { signal }),
      onProgress: ({ blocks, totalBlocks, bytes }) => {
        if (readData) this.#bytesRead = bytes
        onProgress?.({ step: 'blocks', done: blocks, total: totalBlocks })
      },
    })
    for await (const finding of verify) {
      found.push(finding)
      if (finding.digest !== undefined) this.#damaged.set(toHex(finding.digest), finding)
    }
    if (repair && found.length > 0) {
      const taken = await this.#blocks.quarantine(found, { directory: this.#directory })
      for (const digest of taken) this.#quarantined.add(toHex(digest))
    }
    for (const { digest, kind, pack } of found) {
      if (digest !== undefined) continue
      const message = `the header of pack ${pack} ${kind === 'unreadable' ? 'cannot be read' : 'is damaged'}`
      if (!this.#findings.some((known) => known.message === message)) this.#report(kinds[kind], message, [], false)
    }
  }

  /** Entries, signatures and chains; then everything derived from them, made a second time and compared byte for byte. */
  async #checkLog(): Promise<void> {
    const { log } = this.#namespace
    const { repair = false, signal, onProgress } = this.#options
    const { scratch } = log.keys
    const progress = (done: number, total: number) => onProgress?.({ step: 'log', done, total })
    try {
      // Left by a check that was cut off.
      await clearDerived(log, scratch)
      const blocks = this.#readable
      const findings = await deriveFromLog(log, scratch, { blocks, signal, onProgress: progress })
      await recordDamage(log, findings)
      if (findings.length > 0) await this.#reportEntries(findings)
      const isCounted = this.#unreadable.size === 0
      const tables = await compareDerived(log, scratch, log.keys)
      // What cannot be read now was not counted, and is not to be forgotten.
      const different = tables.filter((table) => isCounted || !countingTables.has(table))
      if (different.length === 0) return
      const isMended = repair && isCounted
      if (isMended) await replaceDerived(log, scratch, findings)
      const left = isMended ? await compareDerived(log, scratch, log.keys) : different
      const kept = findings.length > 0 ? '; what a damaged log no longer says is kept' : ''
      for (const table of different) {
        const kind = countingTables.has(table) ? 'usage-differs' : 'catalog-differs'
        this.#report(kind, `table ${table} is not what the log makes it${kept}`, [], !left.includes(table))
      }
    } finally {
      await clearDerived(log, scratch)
    }
  }

  /** Names what is wrong with the log; with repair, copies the entries concerned to the quarantine folder. They stay. */
  async #reportEntries(findings: readonly LogFinding[]): Promise<void> {
    const { log } = this.#namespace
    const artifacts = await this.#artifactsAt(new Set(findings.map(({ place }) => toHex(place))))
    for (const { place, problem } of findings) {
      const [chain, seq] = [toHex(place.subarray(0, 16)), Number(Buffer.from(place).readBigUInt64BE(16))]
      const affected = [...(artifacts.get(toHex(place)) ?? [])]
      this.#report('entry-corrupt', `entry ${seq} of chain ${chain}: ${problem}`, affected, false)
      const bytes = await log.env.store.get(log.keys.key('entries', place))
      if (this.#options.repair !== true || bytes === undefined) continue
      await this.#blocks.putAside(bytes, { directory: this.#directory, name: `${log.idText}-${chain}-${seq}.entry` })
    }
  }

  /** Artifacts whose live versions those entries are, by place in hex, as far as places and catalog can tell. */
  async #artifactsAt(places: ReadonlySet<string>): Promise<Map<string, Set<string>>> {
    const { log } = this.#namespace
    const { signal } = this.#options
    const byEntry = new Map<string, string>()
    const { gte, lt } = log.keys.all('places')
    for await (const [key, place] of log.env.store.entries({ gte, lt }, signal && { signal })) {
      const name = toHex(place) + toHex(key.subarray(gte.length))
      if (places.has(name)) byEntry.set(toHex(key.subarray(gte.length)), name)
    }
    const artifacts = new Map<string, Set<string>>()
    try {
      for await (const { artifact, entry } of log.catalog.liveRoots(undefined, { signal })) {
        const place = byEntry.get(toHex(entry))
        if (place === undefined) continue
        artifacts.set(place, (artifacts.get(place) ?? new Set()).add(formatArtifactId(artifact)))
      }
    } catch (error) {
      if (!isHubError(error, 'CORRUPT')) throw error
    }
    return artifacts
  }

  /** Whether every live version's blocks are here. */
  async #checkTrees(): Promise<Trees> {
    const { log } = this.#namespace
    const { signal } = this.#options
    const losses = new Map<string, Loss>()
    let versions = 0
    let cutShort = false
    try {
      const { versions: total } = await log.catalog.counts()
      for await (const { artifact, root } of log.catalog.liveRoots(undefined, { signal })) {
        versions += 1
        this.#options.onProgress?.({ step: 'versions', done: versions, total })
        // What was never whole here is not lost; a fetch brings it.
        if (await log.isEstimated(artifact, root)) continue
        const seen = await this.#missing(root)
        cutShort ||= seen.cutShort
        for (const [digest, kind] of seen.missing) {
          const loss = losses.get(digest) ?? { ...this.#describe(digest, kind), artifacts: new Set<string>() }
          losses.set(digest, loss)
          loss.artifacts.add(formatArtifactId(artifact))
        }
      }
    } catch (error) {
      // A catalog that cannot be read is a finding, and is one already; which versions it would list is not known.
      if (!isHubError(error, 'CORRUPT') || !this.#findings.some(({ kind }) => kind === 'catalog-differs')) throw error
      cutShort = true
    }
    return { versions, losses, cutShort }
  }

  #describe(digest: string, kind: LossKind): Pick<Loss, 'kind' | 'message'> {
    const finding = this.#damaged.get(digest)
    if (finding === undefined) return { kind, message: `block ${digest} ${lossWords[kind]}` }
    const { pack, offset } = finding
    return { kind: kinds[finding.kind], message: `block ${digest} in pack ${pack} at ${offset}: ${finding.kind}` }
  }

  /**
   * Makes the index again from the packs and looks once more. Not while some block that the index has is in doubt: the
   * index is then all that remembers it. What the packs have damaged is put aside first, for a rebuild passes it over.
   */
  async #findAgain(before: Trees): Promise<Trees> {
    await this.#checkPacks(true)
    if ([...this.#damaged.keys()].some((digest) => !this.#quarantined.has(digest))) return before
    await this.#blocks.rebuildIndex()
    const after = await this.#checkTrees()
    for (const [digest, { kind, artifacts }] of before.losses) {
      if (after.losses.has(digest)) continue
      this.#report(kind, `block ${digest} was missing from the index and is in a pack`, [...artifacts], true)
    }
    return after
  }

  #reportBlocks({ losses, cutShort }: Trees): void {
    for (const { kind, message, artifacts } of losses.values()) this.#report(kind, message, [...artifacts], false)
    for (const [digest, finding] of this.#damaged) {
      if (losses.has(digest)) continue
      const need = cutShort ? 'not known to be needed, for a tree is not whole' : 'no live version needs it'
      const message = `block ${digest} in pack ${finding.pack}: ${finding.kind}; ${need}`
      this.#report(kinds[finding.kind], message, [], !cutShort && this.#quarantined.has(digest))
    }
  }

  /** What a version lacks, by digest in hex. A missing node stands for all below it. */
  async #missing(
    root: Parameters<typeof walkTree>[0]['root'],
  ): Promise<{ missing: Map<string, LossKind>; cutShort: boolean }> {
    const blocks = this.#readable
    const missing = new Map<string, LossKind>()
    let cutShort = false
    let batch: Uint8Array[] = []
    const flush = async () => {
      const here = await blocks.has(batch)
      batch.forEach((digest, at) => {
        const name = toHex(digest)
        const isDamaged = this.#damaged.has(name) && !this.#quarantined.has(name)
        if (here[at] !== true || isDamaged) missing.set(name, 'block-missing')
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
      const digest = toHex(typeof cid === 'string' ? CID.parse(cid).multihash.digest : root.digest)
      const isUnreadable = this.#unreadable.has(digest)
      const absence = isUnreadable ? 'block-unreadable' : 'block-missing'
      missing.set(digest, error.code === 'CORRUPT' ? 'block-corrupt' : absence)
      cutShort = true
    }
    await flush()
    return { missing, cutShort }
  }

  #report(kind: Finding['kind'], message: string, artifacts: readonly string[], repaired: boolean): void {
    this.#findings.push({ kind, namespace: this.#namespace.log.idText, message, artifacts, repaired })
  }
}
