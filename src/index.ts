/**
 * The core: rules and formats. Nothing here opens a socket or a file, reads a clock or draws a random byte of
 * its own: disks, clocks and randomness are handed in, so all of it runs in a simulator.
 *
 * Each folder imports only folders above it in this list:
 *
 * - `encoding`   canonical DAG-CBOR with strict reading, ids as text, ordered keys
 * - `storage`    what the core asks of a disk: an ordered key-value store, and the blocks of a namespace
 * - `identity`   agents: Ed25519 keys, DIDs, signing domains, sealed boxes, key wrapping, the identity file
 * - `content`    bytes ⇄ encrypted Merkle DAG: chunker, leaves, tree, ingest, read
 * - `catalog`    counted operations → versions, records, indexes, lists
 * - `capability` signed statements that let somebody read one artifact: of shares and of links, and their URLs
 * - `log`        entries: header, keys, body, signature; hash-linked chains; the hybrid clock
 * - `membership` who may do what, and which entries count: one answer in whatever order they come
 * - `sharing`    epoch secrets and artifact keys: who can open what
 * - `namespace`  one namespace on one node: appends entries, keeps heads and catalog in step in one batch
 * - `exchange`   between agents: what one asks of another's node, and what it answers
 *
 * `errors.ts` and `limits.ts` stand above them all. What is not here: disks, workers, Helia and the CLI
 * (`node/`), and the interface that programs use (`sdk/`).
 */
export const layers = [
  'encoding',
  'storage',
  'identity',
  'content',
  'catalog',
  'capability',
  'log',
  'membership',
  'sharing',
  'namespace',
  'exchange',
] as const
