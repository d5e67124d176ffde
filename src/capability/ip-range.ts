/** UTF-16 units of the longest range: an IPv6 address that ends in an IPv4 one, and a prefix length. */
export const maxIpRangeUnits = 49

interface IpRange {
  /** 16 bytes; IPv4 addresses are mapped (RFC 4291 section 2.5.5.2), so one form of an address matches the other. */
  readonly address: Uint8Array
  /** Bits that count. */
  readonly prefix: number
}

/** Whether a text is an IP address, or a prefix in CIDR form whose other bits are zero. */
export function isIpRange(text: string): boolean {
  return parseRange(text) !== undefined
}

/** Whether an address (`203.0.113.7`, `2001:db8::1`, also with a zone) lies in a range; what is no address lies in none. */
export function isInIpRange(range: string, address: string): boolean {
  const parsed = parseRange(range)
  const bytes = parseAddress(address.split('%', 1)[0] ?? '')
  return parsed !== undefined && bytes !== undefined && agreeing(parsed.address, bytes) >= parsed.prefix
}

function parseRange(text: string): IpRange | undefined {
  const match = /^([0-9A-Fa-f:.]+)(?:\/(0|[1-9][0-9]{0,2}))?$/.exec(text)
  const [, host = '', length] = match ?? []
  const address = parseAddress(host)
  if (address === undefined) return undefined
  const bits = host.includes(':') ? 128 : 32
  const given = length === undefined ? bits : Number(length)
  if (given > bits) return undefined
  const prefix = given + 128 - bits
  // Set bits beyond the prefix are a slip: whoever wrote them meant another range.
  for (let bit = prefix; bit < 128; bit++) if (bitOf(address, bit) !== 0) return undefined
  return { address, prefix }
}

function parseAddress(text: string): Uint8Array | undefined {
  if (!text.includes(':')) {
    const ipv4 = parseIpv4(text)
    return ipv4 === undefined ? undefined : Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...ipv4)
  }
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const [left, right] = halves.map(parseGroups)
  if (left === undefined || (halves.length === 2 && right === undefined)) return undefined
  if (halves.length === 1) return left.length === 16 ? Uint8Array.from(left) : undefined
  const tail = right as number[]
  const zeros = 16 - left.length - tail.length
  return zeros < 2 ? undefined : Uint8Array.from([...left, ...new Array<number>(zeros).fill(0), ...tail])
}

/** Bytes of groups with colons between them, the last of which may be an IPv4 address. */
function parseGroups(text: string): number[] | undefined {
  if (text === '') return []
  const bytes: number[] = []
  const groups = text.split(':')
  for (const [at, group] of groups.entries()) {
    const ipv4 = at === groups.length - 1 ? parseIpv4(group) : undefined
    if (ipv4 !== undefined) bytes.push(...ipv4)
    else if (/^[0-9A-Fa-f]{1,4}$/.test(group)) {
      const value = Number.parseInt(group, 16)
      bytes.push(value >> 8, value & 0xff)
    } else return undefined
  }
  return bytes.length <= 16 ? bytes : undefined
}

function parseIpv4(text: string): number[] | undefined {
  const parts = text.split('.')
  // A leading zero is octal to some readers.
  const isWell = parts.length === 4 && parts.every((part) => /^(?:0|[1-9][0-9]{0,2})$/.test(part) && Number(part) < 256)
  return isWell ? parts.map(Number) : undefined
}

/** How many bits two addresses agree in, from the front. */
function agreeing(a: Uint8Array, b: Uint8Array): number {
  for (let bit = 0; bit < 128; bit++) if (bitOf(a, bit) !== bitOf(b, bit)) return bit
  return 128
}

function bitOf(address: Uint8Array, bit: number): number {
  return ((address[bit >> 3] as number) >> (7 - (bit & 7))) & 1
}
