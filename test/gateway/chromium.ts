import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'

/** Parameters and results of the DevTools protocol: whoever calls knows what they are. */
// biome-ignore lint/suspicious/noExplicitAny: its types would be a dependency
type Fields = any

/** A tab. */
export interface Page {
  /** A command of the DevTools protocol to this tab. @throws Error with what Chromium says */
  send(method: string, params?: object): Promise<Fields>
  navigate(url: string): Promise<void>
  /** What an expression of JavaScript comes to there, once it is no promise any more. @throws Error with what it throws */
  evaluate<T>(expression: string): Promise<T>
}

/** Chromium without a window, with a profile of its own. */
export interface Chromium extends AsyncDisposable {
  readonly folder: string
  /** A command to the browser. @throws Error with what Chromium says */
  send(method: string, params?: object): Promise<Fields>
  open(): Promise<Page>
  /** Resolves with the next event of a name of which `isMeant`. */
  next(event: string, isMeant?: (params: Fields) => boolean): Promise<Fields>
}

/** Starts it, controlled over a pipe: messages of the DevTools protocol that end in a zero byte. */
export async function startChromium(): Promise<Chromium> {
  const folder = await mkdtemp(join(tmpdir(), 'artifact-hub-chromium-'))
  const options = [
    '--headless=new',
    '--remote-debugging-pipe',
    `--user-data-dir=${join(folder, 'profile')}`,
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--mute-audio',
    '--autoplay-policy=no-user-gesture-required',
    // The tests run as root, where its sandbox does not work.
    '--no-sandbox',
  ]
  const child = spawn('chromium', options, {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    env: { ...process.env, HOME: folder },
  })
  const exited = once(child, 'exit')
  const connection = new Connection(child.stdio[3] as Writable, child.stdio[4] as Readable)
  void exited.then(([code]) => connection.end(new Error(`chromium ended (${code})`)))
  return {
    folder,
    send: (method, params) => connection.send(method, params),
    async open() {
      const { targetId } = await connection.send('Target.createTarget', { url: 'about:blank' })
      const { sessionId } = await connection.send('Target.attachToTarget', { targetId, flatten: true })
      return pageOf(connection, sessionId)
    },
    next: (event, isMeant) => connection.next(event, isMeant),
    async [Symbol.asyncDispose]() {
      await connection.send('Browser.close').catch(() => child.kill('SIGKILL'))
      await exited
      await rm(folder, { recursive: true, maxRetries: 5 })
    },
  }
}

function pageOf(connection: Connection, sessionId: string): Page {
  const send = (method: string, params?: object) => connection.send(method, params, sessionId)
  return {
    send,
    async navigate(url) {
      await send('Page.enable')
      const loaded = connection.next('Page.loadEventFired', undefined, sessionId)
      const { errorText } = await send('Page.navigate', { url })
      if (errorText !== undefined) throw new Error(`${url}: ${errorText}`)
      await loaded
    },
    async evaluate(expression) {
      const { result, exceptionDetails } = await send('Runtime.evaluate', {
        expression,
        awaitPromise: true,
        returnByValue: true,
      })
      if (exceptionDetails !== undefined)
        throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text)
      return result.value
    },
  }
}

interface Call {
  readonly method: string
  resolve(result: Fields): void
  reject(error: Error): void
}

class Connection {
  readonly #to: Writable
  readonly #events = new EventEmitter()
  readonly #calls = new Map<number, Call>()
  #count = 0
  #ended: Error | undefined

  constructor(to: Writable, from: Readable) {
    this.#to = to
    to.on('error', () => {})
    let rest = ''
    from.setEncoding('utf8').on('data', (text: string) => {
      const messages = (rest + text).split('\0')
      rest = messages.pop() as string
      for (const message of messages) this.#receive(JSON.parse(message))
    })
  }

  async send(method: string, params: object = {}, sessionId?: string): Promise<Fields> {
    if (this.#ended !== undefined) throw this.#ended
    const id = ++this.#count
    return await new Promise((resolve, reject) => {
      this.#calls.set(id, { method, resolve, reject })
      this.#to.write(`${JSON.stringify({ id, method, params, sessionId })}\0`)
    })
  }

  async next(event: string, isMeant: (params: Fields) => boolean = () => true, sessionId?: string): Promise<Fields> {
    for (;;) {
      if (this.#ended !== undefined) throw this.#ended
      const [params, from] = await once(this.#events, event)
      if (isMeant(params) && (sessionId === undefined || from === sessionId)) return params
    }
  }

  end(error: Error): void {
    this.#ended = error
    for (const { reject } of this.#calls.values()) reject(error)
    if (this.#events.listenerCount('error') > 0) this.#events.emit('error', error)
  }

  #receive({ id, method, params, result, error, sessionId }: Fields): void {
    if (id === undefined) {
      this.#events.emit(method, params, sessionId)
      return
    }
    const call = this.#calls.get(id)
    this.#calls.delete(id)
    if (error === undefined) call?.resolve(result)
    else call?.reject(new Error(`${call.method}: ${error.message}`))
  }
}
