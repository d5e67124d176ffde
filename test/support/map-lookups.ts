/** Look-ups in maps while some work runs, all of this thread: a measure of the work that does not depend on the machine. */
export async function lookupsIn(work: () => unknown): Promise<number> {
  const { get } = Map.prototype
  let count = 0
  Map.prototype.get = function (this: Map<unknown, unknown>, key: unknown) {
    count += 1
    return get.call(this, key)
  }
  try {
    await work()
  } finally {
    Map.prototype.get = get
  }
  return count
}
