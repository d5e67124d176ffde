/** A leaf stands as near to the root as its key is alone. */
type Node<T> = Leaf<T> | Branch<T>

interface Leaf<T> {
  readonly key: string
  readonly value: T
}

/** What is below one digit after another: `children` in the order of their digits, `bits` says which there are. */
interface Branch<T> {
  readonly bits: number
  readonly children: readonly Node<T>[]
}

/**
 * Values by key, never changed in place: `with` and `without` give another map that shares nearly all with this one, in time that grows with the logarithm
 * of the size. Goes through its keys in ascending order, and from one map to another made of it in the time that the difference takes.
 *
 * Keys are lowercase hex, all of one length. The same keys in whatever order they came make the same tree. Who picks keys can make some longer to find
 * than others: as many steps as digits, no more.
 */
export class HexMap<T> {
  static readonly #empty = new HexMap<never>(undefined, 0)
  readonly #root: Node<T> | undefined
  readonly size: number

  private constructor(root: Node<T> | undefined, size: number) {
    this.#root = root
    this.size = size
  }

  static empty<T>(): HexMap<T> {
    return HexMap.#empty
  }

  get(key: string): T | undefined {
    let node = this.#root
    for (let depth = 0; node !== undefined; depth++) {
      if (isLeaf(node)) return node.key === key ? node.value : undefined
      const bit = bitAt(key, depth)
      if ((node.bits & bit) === 0) return undefined
      node = node.children[rankOf(node.bits, bit)]
    }
    return undefined
  }

  has(key: string): boolean {
    return this.get(key) !== undefined
  }

  /** @param value anything but `undefined` */
  with(key: string, value: NonNullable<T>): HexMap<T> {
    const before = this.get(key)
    if (before === value) return this
    return new HexMap(put(this.#root, { key, value }, 0), before === undefined ? this.size + 1 : this.size)
  }

  without(key: string): HexMap<T> {
    if (this.#root === undefined || !this.has(key)) return this
    return new HexMap(remove(this.#root, key, 0), this.size - 1)
  }

  keys(): IteratorObject<string> {
    return this.from('').map(([key]) => key)
  }

  values(): IteratorObject<T> {
    return this.from('').map(([, value]) => value)
  }

  [Symbol.iterator](): Iterator<[string, T]> {
    return this.from('')
  }

  /** From a key up. */
  from(key: string): Generator<[string, T], void, undefined> {
    return walk(this.#root, key, 0)
  }

  /** Keys under which two maps have different values, or only one has any. */
  static differences<T>(one: HexMap<T>, two: HexMap<T>): Generator<string, void, undefined> {
    return differences(one.#root, two.#root)
  }
}

function isLeaf<T>(node: Node<T>): node is Leaf<T> {
  return 'key' in node
}

function bitAt(key: string, depth: number): number {
  const code = key.charCodeAt(depth)
  return 1 << ((code & 15) + (code > 57 ? 9 : 0))
}

/** How many of the bits are below that one. */
function rankOf(bits: number, bit: number): number {
  return countOf(bits & (bit - 1))
}

function countOf(bits: number): number {
  let count = bits - ((bits >> 1) & 0x5555)
  count = (count & 0x3333) + ((count >> 2) & 0x3333)
  count = (count + (count >> 4)) & 0x0f0f
  return (count + (count >> 8)) & 0x1f
}

function put<T>(node: Node<T> | undefined, leaf: Leaf<T>, depth: number): Node<T> {
  if (node === undefined) return leaf
  if (isLeaf(node)) {
    if (node.key === leaf.key) return leaf
    const [old, added] = [bitAt(node.key, depth), bitAt(leaf.key, depth)]
    if (old === added) return { bits: old, children: [put(node, leaf, depth + 1)] }
    return { bits: old | added, children: old < added ? [node, leaf] : [leaf, node] }
  }
  const bit = bitAt(leaf.key, depth)
  const at = rankOf(node.bits, bit)
  if ((node.bits & bit) === 0) return { bits: node.bits | bit, children: node.children.toSpliced(at, 0, leaf) }
  return { bits: node.bits, children: node.children.with(at, put(node.children[at], leaf, depth + 1)) }
}

/** Without a key that it has; what is left alone moves up. */
function remove<T>(node: Node<T>, key: string, depth: number): Node<T> | undefined {
  if (isLeaf(node)) return undefined
  const bit = bitAt(key, depth)
  const at = rankOf(node.bits, bit)
  const left = remove(node.children[at] as Node<T>, key, depth + 1)
  const children = left === undefined ? node.children.toSpliced(at, 1) : node.children.with(at, left)
  const [only] = children
  if (children.length === 1 && only !== undefined && isLeaf(only)) return only
  return { bits: left === undefined ? node.bits & ~bit : node.bits, children }
}

/** @param from keys below it are left out; empty once that is settled by the digits before */
function* walk<T>(node: Node<T> | undefined, from: string, depth: number): Generator<[string, T], void, undefined> {
  if (node === undefined) return
  if (isLeaf(node)) {
    if (node.key >= from) yield [node.key, node.value]
    return
  }
  const lowest = from === '' ? 0 : bitAt(from, depth)
  for (let bit = 1, at = 0; at < node.children.length; bit <<= 1) {
    if ((node.bits & bit) === 0) continue
    if (bit >= lowest) yield* walk(node.children[at], bit === lowest ? from : '', depth + 1)
    at += 1
  }
}

function* differences<T>(one: Node<T> | undefined, two: Node<T> | undefined): Generator<string, void, undefined> {
  if (one === two) return
  if (one === undefined || two === undefined || isLeaf(one) || isLeaf(two)) {
    const [ones, twos] = [new Map(walk(one, '', 0)), new Map(walk(two, '', 0))]
    for (const [key, value] of ones) if (twos.get(key) !== value) yield key
    for (const key of twos.keys()) if (!ones.has(key)) yield key
    return
  }
  for (let bit = 1; bit < 0x10000; bit <<= 1) {
    const [left, right] = [childAt(one, bit), childAt(two, bit)]
    if (left !== right) yield* differences(left, right)
  }
}

function childAt<T>({ bits, children }: Branch<T>, bit: number): Node<T> | undefined {
  return (bits & bit) === 0 ? undefined : children[rankOf(bits, bit)]
}
