import {
  equalBytes,
  formatNamespaceId,
  isGroupId,
  isNamespaceId,
  parseGroupId,
  parseNamespaceId,
} from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import type { LogKind, Namespace, NamespaceRow, Quota } from '../../src/namespace/index.ts'
import { type EndedLog, type Ending, endedError } from './ended.ts'

/** A namespace, or a group, that this node has open. */
export interface OpenNamespace {
  row: NamespaceRow
  readonly log: Namespace
  readonly quota: Quota
  /** Records of the uploads under way: two of one file must not write one artifact. */
  readonly uploading: Set<string>
}

/** Told of namespaces that come and go. */
export interface NamespaceObserver {
  opened(namespace: OpenNamespace): void
  /**
   * Before it is closed: what is under way in it ends when this resolves.
   * @param isKept it ended and may come back: what is remembered of it stays
   */
  closing(namespace: OpenNamespace, isKept: boolean): Promise<void>
}

/** A log that is about to be here. */
export interface NewLog {
  /** 32 bytes. */
  readonly id: Uint8Array
  readonly kind: LogKind
  /** Its name on this node. */
  readonly name: string
}

/**
 * Which logs a node has, and by what they are found: its namespaces and groups, those of which only single artifacts are here (`partial`), and those that
 * this agent is in no more (`ended`). Whoever extends it changes them.
 */
export class NamespaceBook {
  /** By id. */
  protected readonly opened = new Map<string, OpenNamespace>()
  protected readonly partials = new Map<string, OpenNamespace>()
  protected readonly endings = new Map<string, EndedLog>()
  protected readonly observers = new Set<NamespaceObserver>()
  protected currentOne: OpenNamespace | undefined

  /** Every log that this node keeps, oldest first. */
  get everything(): OpenNamespace[] {
    return [...this.opened.values()].sort(
      (a, b) => a.row.createdMs - b.row.createdMs || Buffer.compare(a.row.id, b.row.id),
    )
  }

  /** The namespaces, oldest first. */
  get all(): OpenNamespace[] {
    return this.everything.filter(({ row }) => row.kind === 'namespace')
  }

  /** The groups that this agent is in, oldest first. */
  get groups(): OpenNamespace[] {
    return this.everything.filter(({ row }) => row.kind === 'group')
  }

  /** Those of which single artifacts are here, in no order. */
  get partial(): OpenNamespace[] {
    return [...this.partials.values()]
  }

  /** Those that this agent is in no more, in no order. */
  get ended(): EndedLog[] {
    return [...this.endings.values()]
  }

  /** Every log that has anything in the store. */
  get stored(): OpenNamespace[] {
    return [...this.everything, ...this.partial, ...this.ended.map(({ namespace }) => namespace)]
  }

  /** The partial one of that id (32 bytes). */
  findPartial(id: Uint8Array): OpenNamespace | undefined {
    return this.partials.get(formatNamespaceId(id))
  }

  /** All in which artifacts are found by id: partial ones too. */
  get readable(): OpenNamespace[] {
    return [...this.all, ...this.partial]
  }

  get current(): OpenNamespace {
    if (this.currentOne === undefined) throw new ArtifactHubError('CLOSED', 'no namespace is open')
    return this.currentOne
  }

  isCurrent(namespace: OpenNamespace): boolean {
    return namespace === this.currentOne
  }

  /** The namespace of that name or id; the current one for `undefined`. @throws NOT_FOUND, INVALID_ARGUMENT, ACCESS_DENIED for one that ended */
  find(nameOrId: string | undefined): OpenNamespace {
    return nameOrId === undefined ? this.current : this.#findIn('namespace', nameOrId)
  }

  /** The group of that name or id. @throws as `find` */
  findGroup(nameOrId: string): OpenNamespace {
    return this.#findIn('group', nameOrId)
  }

  /** As `find` and `findGroup`; one that ended is found as well. @throws NOT_FOUND, INVALID_ARGUMENT */
  findKept(kind: LogKind, nameOrId: string): OpenNamespace {
    return this.#findIn(kind, nameOrId, true)
  }

  #findIn(kind: LogKind, nameOrId: string, isEndedToo = false): OpenNamespace {
    const isId = kind === 'group' ? isGroupId(nameOrId) : isNamespaceId(nameOrId)
    const parse = kind === 'group' ? parseGroupId : parseNamespaceId
    const id = isId ? parse(nameOrId) : undefined
    const isIt = ({ row }: OpenNamespace): boolean =>
      row.kind === kind && (id === undefined ? row.name === nameOrId : equalBytes(row.id, id))
    const found = this.everything.find(isIt)
    if (found !== undefined) return found
    const ended = this.ended.find(({ namespace }) => isIt(namespace))
    if (ended !== undefined && isEndedToo) return ended.namespace
    if (ended !== undefined) throw endedError(ended)
    throw new ArtifactHubError('NOT_FOUND', `there is no ${kind} ${JSON.stringify(nameOrId)}`, {
      details: { [kind]: nameOrId },
    })
  }

  /** Tells of namespaces that are opened or about to be closed, from now on, until the returned function is called. */
  observe(observer: NamespaceObserver): () => void {
    this.observers.add(observer)
    return () => this.observers.delete(observer)
  }

  /** Whether this node has that log (32 bytes), all of it. */
  has(id: Uint8Array): boolean {
    return this.opened.has(formatNamespaceId(id))
  }

  /** The log of that id (32 bytes), if it ended. */
  findEnded(id: Uint8Array): EndedLog | undefined {
    return this.endings.get(formatNamespaceId(id))
  }

  /** What a log that ended was ended by; `undefined` for any other. */
  endingOf(id: Uint8Array): Ending | undefined {
    return this.findEnded(id)?.ending
  }

  /** @throws ALREADY_EXISTS when this node has that log, or another one of that kind and name */
  checkNew({ id, kind, name }: NewLog): void {
    const known = this.opened.get(formatNamespaceId(id))
    if (known !== undefined) {
      throw new ArtifactHubError(
        'ALREADY_EXISTS',
        `this node has that ${known.row.kind}, as ${JSON.stringify(known.row.name)}`,
        {
          details: { namespace: known.log.idText },
        },
      )
    }
    this.checkName(kind, name)
  }

  protected checkName(kind: LogKind, name: string): void {
    if (this.#isFree(kind, name)) return
    throw new ArtifactHubError('ALREADY_EXISTS', `there is a ${kind} ${JSON.stringify(name)} already`, {
      details: { [kind]: name },
    })
  }

  #isFree(kind: LogKind, name: string): boolean {
    return this.everything.every(({ row }) => row.kind !== kind || row.name !== name)
  }

  /** That name, or with a number behind it, so that no other log of that kind has it. */
  freeName(kind: LogKind, name: string): string {
    for (let number = 1; ; number++) {
      const free = number === 1 ? name : `${name} ${number}`
      if (this.#isFree(kind, free)) return free
    }
  }

  /** What to call a log that comes by itself: as before if it was here, else as proposed, so that no other log of that kind has the name. */
  nameFor(kind: LogKind, id: Uint8Array, proposed: string): string {
    return this.freeName(kind, this.endings.get(formatNamespaceId(id))?.namespace.row.name ?? proposed)
  }
}
