import type { Server as HttpServer } from 'node:http'
import type { Http2SecureServer, ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify'
import { isInIpRange } from '../../src/capability/index.ts'
import type { ContentEngine } from '../../src/content/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import type { KeyValueStore } from '../../src/storage/index.ts'
import type { Logger } from '../logger.ts'
import { startAdminServer } from './admin-server.ts'
import { BodyMemory } from './body-memory.ts'
import { boundConnections } from './connections.ts'
import { commonHeaders } from './content-headers.ts'
import { ContentReader } from './content-reader.ts'
import type { ContentSource } from './content-source.ts'
import { DeliveryWatch } from './delivery-watch.ts'
import { gatewayMetrics } from './gateway-metrics.ts'
import type { GatewaySettings } from './gateway-options.ts'
import { LinkCheck } from './link-check.ts'
import { LinkServer } from './link-server.ts'
import { listen } from './listen.ts'
import { problemOf } from './problem.ts'
import type { RawRequest, RawResponse } from './send-body.ts'
import { UseLedger } from './use-ledger.ts'
import { UserLimits } from './user-limits.ts'

/** What a gateway works with. */
export interface GatewayParts {
  readonly settings: GatewaySettings
  readonly source: ContentSource
  readonly engine: ContentEngine
  readonly store: KeyValueStore
  /** Raw public key of the agent that links are for. */
  readonly self: Uint8Array
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** Milliseconds of a clock that never jumps. */
  readonly monotonic: () => number
  readonly logger: Logger | undefined
}

/** A gateway that listens. */
export interface Gateway extends AsyncDisposable {
  /** What stands before `/a/…` in links, without a slash at the end. */
  readonly url: string
  readonly port: number
  /** Of the admin listener, if there is one. */
  readonly adminPort: number | undefined
  /** Takes no more requests, lets bodies in flight finish for a while, then ends them. Idempotent. */
  close(): Promise<void>
}

type Application = FastifyInstance<HttpServer> | FastifyInstance<Http2SecureServer>

/** Starts serving links over HTTP. @throws INVALID_ARGUMENT for an address that cannot be listened on, or an unusable certificate */
export async function startGateway(parts: GatewayParts): Promise<Gateway> {
  const { settings, store, now, logger } = parts
  await using cleanUp = new AsyncDisposableStack()
  const ledger = await UseLedger.open(store, Math.floor(now() / 1000) - 2 * 24 * 3600)
  const application = createApplication(settings)
  const running = new RunningGateway(parts, ledger, application)
  cleanUp.defer(() => running.close())
  addRoutes(application, running)
  await application.ready()
  const { server } = application
  const { host } = settings
  const port = await listen(server as HttpServer, host, settings.port, settings.maxConnections)
  const scheme = settings.tls === undefined ? 'http' : 'https'
  const url = settings.publicUrl ?? `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`
  const admin = settings.admin && (await startAdminServer(settings.admin, running.metrics, () => !running.isClosing))
  cleanUp.move()
  logger?.info('the gateway listens', { url, port, ...(admin === undefined ? {} : { adminPort: admin.port }) })
  let closing: Promise<void> | undefined
  const close = (): Promise<void> => {
    closing ??= running.close().then(() => admin?.close())
    return closing
  }
  return { url, port, adminPort: admin?.port, close, [Symbol.asyncDispose]: close }
}

function createApplication({ tls, trustProxy, headerTimeoutMs }: GatewaySettings): Application {
  const common = {
    logger: false,
    trustProxy:
      typeof trustProxy === 'boolean'
        ? trustProxy
        : (address: string) => trustProxy.some((range) => isInIpRange(range, address)),
    exposeHeadRoutes: false,
    keepAliveTimeout: 60_000,
    requestTimeout: headerTimeoutMs,
    return503OnClosing: false,
    routerOptions: { maxParamLength: 2_048 },
    clientErrorHandler: refuseMalformed,
    // Its own answer would repeat the URL, and so the link.
    // `never`: its type is another for each version of HTTP.
    frameworkErrors: refuseUnroutable as never,
  }
  const timing = {
    headersTimeout: headerTimeoutMs,
    connectionsCheckingInterval: Math.min(1_000, headerTimeoutMs),
    maxHeaderSize: 16 * 1024,
    noDelay: true,
  }
  if (tls === undefined) return fastify({ ...common, http: timing })
  const { key, cert } = tls
  const https = {
    ...timing,
    key: Buffer.from(key),
    cert: Buffer.from(cert),
    allowHTTP1: true,
    handshakeTimeout: headerTimeoutMs,
  }
  try {
    return fastify({ ...common, http2: true, http2SessionTimeout: 120_000, https })
  } catch (cause) {
    throw new ArtifactHubError('INVALID_ARGUMENT', 'gateway.tls: the key or the certificate cannot be used', { cause })
  }
}

/** What is no HTTP, or came too slowly, is told so in a line; the error is not looked into, for it holds what was sent. */
function refuseMalformed(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const status =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? '431 Request Header Fields Too Large'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? '408 Request Timeout'
        : '400 Bad Request'
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n`, () =>
    socket.destroy(),
  )
}

function addRoutes(application: Application, running: RunningGateway): void {
  const app = application as FastifyInstance<HttpServer>
  const get = ['GET', 'HEAD'] as const
  // Before the framework looks at a body: nothing here takes one, and a slow one would be waited for.
  app.addHook('onRequest', async (request, reply) => {
    running.deliveries.onRequest(request.raw.socket)
    const { method } = request
    if (method === 'GET' || method === 'HEAD' || method === 'OPTIONS') return
    refuse(request, reply, new ArtifactHubError('INVALID_ARGUMENT', 'GET, HEAD and OPTIONS only'), {
      status: 405,
      headers: { allow: 'GET, HEAD, OPTIONS', connection: 'close' },
    })
    return reply
  })
  app.route<{ Params: { artifact: string } }>({
    method: [...get],
    url: '/a/:artifact/:name',
    handler: (request, reply) => {
      reply.hijack()
      void running.serve(request.raw, reply.raw, request.ip, request.params.artifact)
    },
  })
  app.options('/*', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(204, preflightHeaders).end()
  })
  const plain = (url: string, answer: () => { status: number; text: string }): void => {
    app.route({
      method: [...get],
      url,
      handler: (_request, reply) => {
        const { status, text } = answer()
        return reply.code(status).headers({ 'content-type': 'text/plain', 'cache-control': 'no-store' }).send(text)
      },
    })
  }
  plain('/healthz', () => ({ status: 200, text: 'ok\n' }))
  plain('/readyz', () => (running.isClosing ? { status: 503, text: 'closing\n' } : { status: 200, text: 'ready\n' }))
  app.setNotFoundHandler((request, reply) => {
    refuse(request, reply, new ArtifactHubError('NOT_FOUND', 'nothing is here'))
  })
  app.setErrorHandler((error: { statusCode?: number }, request, reply) => {
    const isTheirs = error.statusCode !== undefined && error.statusCode < 500
    if (isTheirs) refuseAsMalformed(request, reply)
    else refuse(request, reply, error)
  })
}

function refuseUnroutable(_error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  refuseAsMalformed(request, reply)
}

function refuseAsMalformed(request: FastifyRequest, reply: FastifyReply): void {
  refuse(request, reply, new ArtifactHubError('INVALID_ARGUMENT', 'a malformed request'))
}

const preflightHeaders = {
  ...commonHeaders,
  'access-control-allow-methods': 'GET, HEAD, OPTIONS',
  'access-control-allow-headers': 'Range, If-Range, If-Match, If-None-Match, Accept',
  'access-control-max-age': '86400',
  'cache-control': 'no-store',
  'content-length': '0',
} as const

function refuse(
  request: FastifyRequest,
  reply: FastifyReply,
  error: unknown,
  options: Parameters<typeof problemOf>[2] = {},
): void {
  const { status, headers, body } = problemOf(error, request.headers.accept, options)
  const { connection, ...kept } = headers
  const isHttp1 = request.raw.httpVersionMajor === 1
  reply.hijack()
  reply.raw.writeHead(status, { ...commonHeaders, ...kept, ...(connection && isHttp1 ? { connection } : {}) })
  reply.raw.end(request.method === 'HEAD' ? undefined : body)
}

/** The parts of a gateway that live as long as it listens. */
class RunningGateway {
  readonly deliveries: DeliveryWatch
  readonly metrics: ReturnType<typeof gatewayMetrics>
  readonly #parts: GatewayParts
  readonly #application: Application
  readonly #server: LinkServer
  readonly #active = new Set<Promise<unknown>>()
  readonly #connections: ReturnType<typeof boundConnections>
  readonly #sessions = new Set<ServerHttp2Session>()
  #isClosing = false

  constructor(parts: GatewayParts, ledger: UseLedger, application: Application) {
    this.#parts = parts
    this.#application = application
    const { settings, source, engine, self, now, monotonic, logger } = parts
    const onFault = (error: unknown): void => {
      const message = error instanceof Error ? error.message : String(error)
      logger?.error('a link could not be served', { message: message.replaceAll(/cap=[^&\s"']*/g, 'cap=…') })
    }
    const memory = new BodyMemory(settings.bodyMemoryBytes, monotonic)
    const server = application.server as HttpServer
    const connections = boundConnections(server, settings)
    this.#connections = connections
    server.on('session', (session: ServerHttp2Session) => {
      this.#sessions.add(session)
      session.once('close', () => this.#sessions.delete(session))
    })
    this.deliveries = new DeliveryWatch(onFault)
    this.metrics = gatewayMetrics({
      connections: () => connections.count,
      requests: () => this.#active.size,
      holding: () => memory.load.holding,
      waiting: () => memory.load.waiting,
    })
    this.#server = new LinkServer({
      check: new LinkCheck({ self, skewSeconds: settings.clockSkewSeconds, now }),
      source,
      reader: new ContentReader(engine),
      memory,
      clients: new UserLimits(settings.perClient, monotonic),
      links: new UserLimits(settings.perLink, monotonic),
      ledger,
      deliveries: this.deliveries,
      maxCacheSeconds: settings.maxCacheSeconds,
      stalledMs: settings.stalledBodyMs,
      isClosing: () => this.#isClosing,
      onFault,
    })
  }

  get isClosing(): boolean {
    return this.#isClosing
  }

  async serve(request: RawRequest, response: RawResponse, address: string, artifact: string): Promise<void> {
    const { monotonic, logger } = this.#parts
    const url = request.url ?? ''
    const query = url.indexOf('?')
    const caps = query < 0 ? [] : new URLSearchParams(url.slice(query)).getAll('cap')
    const startedMs = monotonic()
    const served = this.#server.serve({ request, response, address, artifact, caps })
    this.#active.add(served)
    const outcome = await served
    this.#active.delete(served)
    const tookMs = monotonic() - startedMs
    this.metrics.observe(outcome, tookMs / 1000)
    logger?.debug('answered', { method: request.method, artifact, address, ...outcome, ms: Math.round(tookMs) })
    if (this.#isClosing) this.#closeIdle()
  }

  async close(): Promise<void> {
    this.#isClosing = true
    const closed = new Promise<void>((resolve) => this.#http.close(() => resolve()))
    this.#closeIdle()
    const late = setTimeout(() => this.#server.cutOff(), this.#parts.settings.drainMs)
    while (this.#active.size > 0) await Promise.all(this.#active)
    clearTimeout(late)
    await this.deliveries.close()
    for (const session of this.#sessions) session.destroy()
    this.#connections.destroyAll()
    await closed
    await this.#application.close()
  }

  #closeIdle(): void {
    for (const session of this.#sessions) session.close()
    // A server of HTTP/2 has it not: what is idle there ends with the rest.
    this.#http.closeIdleConnections?.()
  }

  get #http(): HttpServer {
    return this.#application.server as HttpServer
  }
}
