import { z } from 'zod'
import { gatewayBase, isIpRange } from '../../src/capability/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'

const MiB = 1024 * 1024

/** What one client, or one link, may have of a gateway. */
export interface Limits {
  /** Requests at once. */
  readonly concurrent: number
  readonly requestsPerSecond: number
  readonly bytesPerSecond: number
}

/** What `startNode` is told about its gateway. */
export interface GatewayOptions {
  /** Default 127.0.0.1. */
  readonly host?: string | undefined
  /** Default 0: one that the system picks. */
  readonly port?: number | undefined
  /** What stands before `/a/…` in links, where that is not `http(s)://host:port`: behind a proxy, or under a name. */
  readonly publicUrl?: string | undefined
  /** A listener of its own for `/metrics`, `/healthz` and `/readyz`; host 127.0.0.1 by default. Without it there are no metrics. */
  readonly admin?: { readonly host?: string | undefined; readonly port: number } | undefined
  /** PEM: HTTPS, with HTTP/2 for whoever speaks it. */
  readonly tls?: { readonly key: string | Uint8Array; readonly cert: string | Uint8Array } | undefined
  /** Serve links of anyone, within the limits; by default only of this agent, of its namespaces and of its contacts. */
  readonly open?: boolean | undefined
  /** Dial private addresses that a stranger's link names: for tests and networks of one's own. */
  readonly allowPrivateProviders?: boolean | undefined
  /**
   * Proxies whose `X-Forwarded-For` is believed: addresses or CIDR ranges, or `true` for whoever connects, which is right only
   * where nobody but a proxy can.
   */
  readonly trustProxy?: boolean | readonly string[] | undefined
  /** How far an issuer's clock may be from ours, seconds. Default 60. */
  readonly clockSkewSeconds?: number | undefined
  /** How old what is known of revocations may be before links are refused (`STALE_VIEW`), seconds. Default 60. */
  readonly maxViewAgeSeconds?: number | undefined
  /** Memory for blocks of namespaces that this agent has no part in, as they are stored elsewhere (encrypted), bytes. Default 128 MiB. */
  readonly strangerCacheBytes?: number | undefined
  /** The longest that a browser may keep an answer, seconds. Default 3,600. */
  readonly maxCacheSeconds?: number | undefined
  /** Memory for content on its way out, bytes. Default 128 MiB. */
  readonly bodyMemoryBytes?: number | undefined
  /** Open connections. Default 4,096. */
  readonly maxConnections?: number | undefined
  /** Of one client address (IPv6: of one /64). */
  readonly perClient?: Partial<Limits> | undefined
  /** Of one link, whoever uses it. */
  readonly perLink?: Partial<Limits> | undefined
  /** How long a client may take over its request, milliseconds. Default 15,000. */
  readonly headerTimeoutMs?: number | undefined
  /** A client that has taken nothing of its answer for so long is cut off, milliseconds. Default 120,000. */
  readonly stalledBodyMs?: number | undefined
  /** How long closing waits for bodies in flight, milliseconds. Default 30,000. */
  readonly drainMs?: number | undefined
}

const milliseconds = z.int().min(1).max(3_600_000)
const port = z.int().min(0).max(65_535)
/** As links have it: one that none could point to is refused while somebody is there to see it. */
const publicUrl = z.string().transform((text, context) => {
  try {
    return gatewayBase(text)
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message })
    return z.NEVER
  }
})
const proxies = z.union([z.boolean(), z.array(z.string().refine(isIpRange))], {
  error: 'must be IP addresses, or CIDR prefixes whose other bits are zero',
})
const pem = z.union([z.string().min(1), z.instanceof(Uint8Array)])
const limits = (defaults: Limits) => {
  const amount = z.number().positive()
  return z
    .strictObject({
      concurrent: amount.default(defaults.concurrent),
      requestsPerSecond: amount.default(defaults.requestsPerSecond),
      bytesPerSecond: amount.default(defaults.bytesPerSecond),
    })
    .default(defaults)
}

/** The defaults of limits are ones that a single client with 64 connections, however busy, does not come near. */
const form = z.strictObject({
  host: z.string().min(1).default('127.0.0.1'),
  port: port.default(0),
  publicUrl: publicUrl.optional(),
  admin: z.strictObject({ host: z.string().min(1).default('127.0.0.1'), port }).optional(),
  tls: z.strictObject({ key: pem, cert: pem }).optional(),
  open: z.boolean().default(false),
  allowPrivateProviders: z.boolean().default(false),
  trustProxy: proxies.default(false),
  clockSkewSeconds: z.number().min(0).max(3_600).default(60),
  maxViewAgeSeconds: z.number().min(1).max(86_400).default(60),
  strangerCacheBytes: z
    .int()
    .min(32 * MiB)
    .default(128 * MiB),
  maxCacheSeconds: z.int().min(0).default(3_600),
  bodyMemoryBytes: z
    .int()
    .min(8 * MiB)
    .default(128 * MiB),
  maxConnections: z.int().min(1).default(4_096),
  perClient: limits({ concurrent: 1_024, requestsPerSecond: 20_000, bytesPerSecond: 4_000 * MiB }),
  perLink: limits({ concurrent: 2_048, requestsPerSecond: 40_000, bytesPerSecond: 8_000 * MiB }),
  headerTimeoutMs: milliseconds.default(15_000),
  stalledBodyMs: milliseconds.default(120_000),
  drainMs: milliseconds.default(30_000),
})

/** The options with what was left out filled in. */
export type GatewaySettings = z.output<typeof form>

/** @throws INVALID_ARGUMENT that names what is wrong */
export function gatewaySettings(options: GatewayOptions): GatewaySettings {
  const parsed = form.safeParse(withoutUndefined(options))
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const where = ['gateway', ...(issue?.path ?? [])].join('.')
  throw new ArtifactHubError('INVALID_ARGUMENT', `${where}: ${issue?.message ?? 'wrong'}`)
}

/** `undefined` is the same as absent, in what is nested too. */
function withoutUndefined(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array) return value
  const given = Object.entries(value).filter(([, member]) => member !== undefined)
  return Object.fromEntries(given.map(([name, member]) => [name, withoutUndefined(member)]))
}
