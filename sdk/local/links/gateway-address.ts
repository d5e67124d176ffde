import { gatewayBase } from '../../../src/capability/index.ts'

// RFC-less but common: `/dns4/files.example.org/tcp/443/https`. A path has no place in it, so a gateway below one says its URL otherwise.
const pattern = /^\/(ip4|ip6|dns|dns4|dns6)\/([A-Za-z0-9._:-]+)\/tcp\/([0-9]{1,5})\/(https|http|tls\/http)$/

/** The URL of the gateway that an address in a ticket tells of; `undefined` for addresses of another kind. */
export function gatewayOfAddress(address: string): string | undefined {
  const match = pattern.exec(address)
  if (match === null) return undefined
  const [, kind, host = '', port, scheme] = match
  const name = kind === 'ip6' ? `[${host}]` : host
  const url = `${scheme === 'http' ? 'http' : 'https'}://${name}:${port}`
  return URL.canParse(url) ? gatewayBase(url) : undefined
}

/** The address that tells of a gateway in a ticket; `undefined` when it stands below a path, which none can say. */
export function addressOfGateway(text: string): string | undefined {
  const { protocol, hostname, port, pathname } = new URL(text)
  if (pathname !== '/') return undefined
  const scheme = protocol === 'https:' ? 'https' : 'http'
  return `/${hostOf(hostname)}/tcp/${port === '' ? (scheme === 'https' ? 443 : 80) : port}/${scheme}`
}

function hostOf(hostname: string): string {
  if (hostname.startsWith('[')) return `ip6/${hostname.slice(1, -1)}`
  // The parser of URLs makes four numbers of whatever is an IPv4 address.
  return /^[0-9.]+$/.test(hostname) ? `ip4/${hostname}` : `dns/${hostname}`
}
