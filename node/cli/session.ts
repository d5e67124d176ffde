import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { styleText } from 'node:util'
import type { Client } from '../../sdk/client.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import { absolutePath } from '../disk/files.ts'
import type { ArtifactHubNode, StartNodeOptions } from '../node-types.ts'
import { type Need, type NetworkOptions, networkStart } from './network-options.ts'
import { openNode } from './open-node.ts'
import type { Output } from './output.ts'
import { ProgressLine } from './progress-line.ts'
import { type Column, escapeLines, jsonText, Table } from './text/index.ts'

/** Options that every command takes. */
export interface CommonOptions extends NetworkOptions {
  readonly dataDir?: string | undefined
  /** Name or id of a namespace. */
  readonly ns?: string | undefined
  readonly json?: boolean | undefined
  readonly quiet?: boolean | undefined
}

/** What only nodes that stay on the network are told. */
export type OnlineExtra = Pick<StartNodeOptions, 'replicate' | 'relay' | 'gateway' | 'logger'>

/**
 * One run of one command: its options, its streams and its node, which starts when it is first asked for and closes with the
 * session.
 */
export class Session implements AsyncDisposable {
  /** Fires on Ctrl-C, on SIGTERM and when the reader of the output goes away. */
  readonly signal: AbortSignal
  readonly json: boolean
  /** The namespace that `--ns` names. */
  readonly namespace: string | undefined
  readonly output: Output
  readonly #options: CommonOptions
  #node: Promise<ArtifactHubNode> | undefined
  #passphrase: string | undefined
  #isOnline = false

  constructor(options: CommonOptions, output: Output, signal: AbortSignal) {
    this.#options = options
    this.json = options.json === true
    this.namespace = options.ns
    this.output = output
    this.signal = signal
  }

  /**
   * The node, without a network unless an option asks for one.
   * @throws LOCKED, ACCESS_DENIED, UNSUPPORTED_FORMAT, STORAGE_FAILED, CORRUPT
   */
  node(): Promise<ArtifactHubNode> {
    this.#node ??= this.#open('disk', {})
    return this.#node
  }

  /**
   * The node with its network, unless an option says that there is to be none. One that is open without is closed and started
   * again: objects of it that the caller holds are of no use any more.
   * @throws as `node`; INVALID_ARGUMENT for an address that cannot be listened on
   */
  async online(extra: OnlineExtra = {}): Promise<ArtifactHubNode> {
    if (this.#node !== undefined && this.isOnline) return await this.#node
    await (await this.#node)?.close()
    this.#node = this.#open('peers', extra)
    return await this.#node
  }

  /** Whether the node that was asked for last has a network. */
  get isOnline(): boolean {
    return this.#isOnline
  }

  /** Whether an option says that there is to be no network. */
  get staysOffline(): boolean {
    return this.#options.network === 'offline'
  }

  /** @throws as `node` */
  async client(): Promise<Client> {
    return (await this.node()).client
  }

  /** @throws as `online` */
  async onlineClient(): Promise<Client> {
    return (await this.online()).client
  }

  /** The result of the command: one JSON document with `--json`, else the text. */
  async result(json: unknown, text: string): Promise<void> {
    await this.output.write(this.json ? `${jsonText(json, 2)}\n` : text)
  }

  /** A table that fits the terminal, if standard output is one; in full otherwise. */
  table<Row>(columns: readonly Column<Row>[]): Table<Row> {
    return new Table(columns, {
      maxWidth: process.stdout.isTTY ? process.stdout.columns : undefined,
      styleTitle: (title) => styleText('bold', title, { stream: process.stdout }),
    })
  }

  /** Says something to a person, on standard error; not with `--quiet` or `--json`. */
  note(message: string): void {
    if (!this.#options.quiet && !this.json) process.stderr.write(`${escapeLines(message)}\n`)
  }

  /** Progress on standard error; with `--json` only where a person looks. */
  progress(label: string): ProgressLine {
    const silent = this.#options.quiet === true || (this.json && !process.stderr.isTTY)
    return new ProgressLine(process.stderr, { label, silent })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const node = await this.#node?.catch(() => undefined)
    await node?.close()
  }

  async #open(need: Need, extra: OnlineExtra): Promise<ArtifactHubNode> {
    const given = this.#options.dataDir
    // As of a variable that is not set: it would be the folder that the command runs in.
    if (given === '') throw new ArtifactHubError('INVALID_ARGUMENT', '--data-dir must be a path')
    const dataDir = absolutePath(given ?? (process.env.ARTIFACT_HUB_DIR || homeDirectory()))
    const fresh = !existsSync(dataDir)
    const network = await networkStart(this.#options, need)
    this.#isOnline = network.network !== 'offline'
    const start = { ...network, ...extra, dataDir, passphrase: this.#passphrase, signal: this.signal }
    const { node, passphrase } = await openNode(start)
    this.#passphrase = passphrase
    if (fresh) this.note(`created a new agent, ${node.did}, in ${dataDir}`)
    return node
  }
}

function homeDirectory(): string {
  const home = homedir()
  // As HOME is in some services: it would be the folder that the command runs in, too.
  if (home !== '') return join(home, '.artifact-hub')
  throw new ArtifactHubError(
    'INVALID_ARGUMENT',
    'there is no home directory: say where with --data-dir or ARTIFACT_HUB_DIR',
  )
}
