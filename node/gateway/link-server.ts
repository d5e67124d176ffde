import type { LinkClaims } from '../../src/capability/index.ts'
import { toHex } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import type { BodyMemory } from './body-memory.ts'
import { type RangeAnswer, rangeOf } from './byte-range.ts'
import { conditionOf, rangeCounts } from './conditions.ts'
import { cacheControl, commonHeaders, contentHeaders, etagOf } from './content-headers.ts'
import type { ContentReader } from './content-reader.ts'
import type { ContentSource, LinkContent } from './content-source.ts'
import type { DeliveryWatch } from './delivery-watch.ts'
import type { LinkCheck } from './link-check.ts'
import { codeOf, problemOf } from './problem.ts'
import { type RawRequest, type RawResponse, sendBody, wasCutOff } from './send-body.ts'
import type { Reservation, UseLedger } from './use-ledger.ts'
import { type Admission, clientName, type UserLimits } from './user-limits.ts'

/** Of links that follow an artifact, whose next version may come at any time, seconds. */
const latestCacheSeconds = 10

/** A GET or HEAD of `/a/<artifact>/<name>?cap=…`. */
export interface Exchange {
  readonly request: RawRequest
  readonly response: RawResponse
  /** Of the client, behind whatever proxies are trusted. */
  readonly address: string
  readonly artifact: string
  readonly caps: readonly string[]
}

/** What became of an exchange. */
export interface Outcome {
  /** 0 when nothing was answered. */
  readonly status: number
  /** Why it was refused or cut off. */
  readonly code: string | undefined
  /** Of content. */
  readonly bytes: number
  /** Hex; the public name of the link, once its token was verified. */
  readonly jti: string | undefined
}

interface LinkServerOptions {
  readonly check: LinkCheck
  readonly source: ContentSource
  readonly reader: ContentReader
  readonly memory: BodyMemory
  readonly clients: UserLimits
  readonly links: UserLimits
  readonly ledger: UseLedger
  readonly deliveries: DeliveryWatch
  readonly maxCacheSeconds: number
  readonly stalledMs: number
  /** Whether connections are to be closed after their answer. */
  readonly isClosing: () => boolean
  /** Told of failures that are nobody's fault but this side's. */
  readonly onFault: (error: unknown) => void
}

/** Answers requests for links. */
export class LinkServer {
  readonly #options: LinkServerOptions
  readonly #active = new Set<AbortController>()

  constructor(options: LinkServerOptions) {
    this.#options = options
  }

  /** Answers, and resolves when all of the answer was handed to the system or the connection is gone. Never throws. */
  async serve(exchange: Exchange): Promise<Outcome> {
    const { response, request } = exchange
    const ending = new AbortController()
    const onClose = (): void => {
      if (wasCutOff(response)) ending.abort(new ArtifactHubError('CLOSED', 'the client went away'))
    }
    response.once('close', onClose)
    this.#active.add(ending)
    const answer = new Answer(exchange, this.#options, ending.signal)
    try {
      await answer.give()
    } catch (error) {
      answer.fail(error)
    } finally {
      this.#active.delete(ending)
      response.removeListener('close', onClose)
      // Whatever a client sends with its request is not wanted.
      request.resume()
    }
    return answer.outcome
  }

  /** Cuts off whatever is under way. */
  cutOff(): void {
    for (const ending of this.#active) ending.abort(new ArtifactHubError('CLOSED', 'the gateway is closed'))
  }
}

/** One answer. */
class Answer {
  readonly #exchange: Exchange
  readonly #options: LinkServerOptions
  readonly #signal: AbortSignal
  #claims: LinkClaims | undefined
  #sentBytes = 0
  code: string | undefined

  constructor(exchange: Exchange, options: LinkServerOptions, signal: AbortSignal) {
    this.#exchange = exchange
    this.#options = options
    this.#signal = signal
  }

  get outcome(): Outcome {
    const { response } = this.#exchange
    return {
      status: response.headersSent ? response.statusCode : 0,
      code: this.code,
      bytes: this.#sentBytes,
      jti: this.#claims === undefined ? undefined : toHex(this.#claims.jti),
    }
  }

  async give(): Promise<void> {
    const { clients, links, check, source } = this.#options
    const { address } = this.#exchange
    using client = clients.admit(clientName(address))
    const link = check.check(this.#exchange)
    const { claims } = link
    this.#claims = claims
    using use = links.admit(toHex(claims.jti) + toHex(claims.issuer))
    const content = await source.find(link, this.#signal)
    await this.#answer(claims, content, [client, use])
  }

  /** Tells a failure, or, when part of the content went out already, ends the connection: nobody is to take that for all of it. */
  fail(error: unknown): void {
    const { request, response } = this.#exchange
    this.code = codeOf(error)
    // Nobody is there to be told.
    if (response.closed || response.stream?.destroyed === true || request.socket.destroyed) return
    const problem = problemOf(error, request.headers.accept)
    if (faults.has(this.code)) this.#options.onFault(error)
    if (response.headersSent) destroy(response)
    else this.#refuse(problem)
  }

  async #answer(claims: LinkClaims, content: LinkContent, admissions: readonly Admission[]): Promise<void> {
    const { request, response } = this.#exchange
    const { check, maxCacheSeconds } = this.#options
    const etag = etagOf(content)
    const cacheSeconds = claims.pinned === undefined ? Math.min(latestCacheSeconds, maxCacheSeconds) : maxCacheSeconds
    const headers = {
      ...contentHeaders(content, { etag, disposition: claims.disposition }),
      'cache-control': cacheControl(check.remainingMs(claims), cacheSeconds),
    }
    const condition = conditionOf(request.headers, etag)
    if (condition === 'failed') {
      const error = new ArtifactHubError('CONFLICT', 'the content is another')
      this.code = error.code
      this.#refuse(problemOf(error, request.headers.accept, { status: 412, headers: { etag } }))
      return
    }
    if (condition === 'not-modified') {
      this.#begin(304, headers)
      await this.#end()
      return
    }
    const { sizeBytes } = content.root
    const range: RangeAnswer = rangeCounts(request.headers, etag)
      ? rangeOf(request.headers.range, sizeBytes)
      : { kind: 'whole' }
    if (range.kind === 'unsatisfiable') {
      const error = new ArtifactHubError('RANGE_INVALID', 'no such bytes', { details: { sizeBytes } })
      this.code = error.code
      const more = { etag, 'content-range': `bytes */${sizeBytes}` }
      this.#refuse(problemOf(error, request.headers.accept, { headers: more }))
      return
    }
    const { start, end } = range.kind === 'part' ? range : { start: 0, end: sizeBytes }
    const status = range.kind === 'part' ? 206 : 200
    const all = {
      ...headers,
      'content-length': String(end - start),
      ...(status === 206 ? { 'content-range': `bytes ${start}-${end - 1}/${sizeBytes}` } : {}),
    }
    if (request.method === 'HEAD') {
      this.#begin(status, all)
      await this.#end()
      return
    }
    const begin = (): void => this.#begin(status, all)
    if (claims.maxUses === undefined) {
      await this.#send(content, { start, end }, admissions, begin)
      return
    }
    const { ledger, deliveries } = this.#options
    const client = clientName(this.#exchange.address)
    const part = { start, end, client }
    const reservation = await ledger.reserve({ ...claims, maxUses: claims.maxUses }, sizeBytes, part)
    try {
      await this.#send(content, part, admissions, begin, reservation.claim)
    } catch (error) {
      await reservation.settle(this.#sentBytes, true)
      throw error
    }
    deliveries.watch(request.socket, response, (wasCut) => reservation.settle(this.#sentBytes, wasCut))
  }

  async #send(
    content: LinkContent,
    { start, end }: { readonly start: number; readonly end: number },
    admissions: readonly Admission[],
    begin: () => void,
    claim?: Reservation['claim'],
  ): Promise<void> {
    const { reader, memory, stalledMs } = this.#options
    const signal = this.#signal
    const pace = (bytes: number) => paced(admissions, bytes, signal)
    const onSent = (bytes: number): void => {
      this.#sentBytes += bytes
    }
    const small = await reader.small(content, signal)
    if (small !== undefined) {
      claim?.(end)
      await pace(end - start)
      begin()
      onSent(end - start)
      return await this.#end(small.subarray(start, end))
    }
    await using opened = reader.open(content, { start, end }, signal)
    const read = opened.read.bind(opened)
    await sendBody(this.#exchange.response, { start, end, read, memory, pace, claim, stalledMs, onSent, signal }, begin)
    await this.#end()
  }

  #begin(status: number, headers: Readonly<Record<string, string>>): void {
    const { response, request } = this.#exchange
    const closes = this.#options.isClosing() && request.httpVersionMajor === 1
    response.writeHead(status, { ...commonHeaders, ...headers, ...(closes ? { connection: 'close' } : {}) })
  }

  #refuse({ status, headers, body }: ReturnType<typeof problemOf>): void {
    const { response, request } = this.#exchange
    this.#begin(status, headers)
    if (request.method !== 'HEAD') response.write(body)
    response.end()
  }

  /** Resolves when the last byte was handed to the system. @throws as `sendBody` */
  async #end(rest?: Uint8Array): Promise<void> {
    const { response } = this.#exchange
    const { stalledMs } = this.#options
    const signal = this.#signal
    signal.throwIfAborted()
    await new Promise<void>((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
      }
      const onAbort = (): void => {
        settle()
        reject(signal.reason)
      }
      const timer = setTimeout(() => {
        settle()
        reject(new ArtifactHubError('RATE_LIMITED', 'the client takes nothing'))
      }, stalledMs)
      signal.addEventListener('abort', onAbort, { once: true })
      response.once('finish', () => {
        settle()
        resolve()
      })
      if (rest === undefined) response.end()
      else response.end(rest)
    })
  }
}

/** Waits for all that bound it. */
function paced(admissions: readonly Admission[], bytes: number, signal: AbortSignal): Promise<void> | undefined {
  const waits = admissions.map((admission) => admission.pace(bytes, signal)).filter((wait) => wait !== undefined)
  return waits.length === 0 ? undefined : Promise.all(waits).then(() => {})
}

/** Ends an answer so that no client takes it for whole. */
function destroy(response: RawResponse): void {
  if (response.stream === undefined) response.destroy()
  else response.stream.close(http2InternalError)
}

/** Failures that an operator should hear of: they are neither the client's, nor to be expected. */
const faults: ReadonlySet<string> = new Set([
  'INTERNAL',
  'CORRUPT',
  'STORAGE_FAILED',
  'STORAGE_FULL',
  'UNSUPPORTED_FORMAT',
])

/** RFC 9113 section 7. */
const http2InternalError = 2
