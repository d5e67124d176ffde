import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** Passes connections on and cuts each but the last ones after so many bytes towards the client, as a bad network does. */
export interface CuttingProxy extends AsyncDisposable {
  readonly port: number
  /** Connections that were cut. */
  readonly cuts: number
}

export async function startCuttingProxy(
  targetPort: number,
  {
    afterBytes,
    times,
    held = Promise.resolve(),
  }: {
    readonly afterBytes: number
    readonly times: number
    /** What is to be cut waits for it, silent. */
    readonly held?: Promise<void>
  },
): Promise<CuttingProxy> {
  let cuts = 0
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const target = connect(targetPort, '127.0.0.1')
    let passed = 0
    for (const socket of [client, target]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        target.destroy()
      })
    }
    client.pipe(target)
    target.on('data', (data) => {
      passed += data.length
      if (cuts < times && passed > afterBytes) {
        cuts++
        target.pause()
        void held.then(() => {
          client.resetAndDestroy()
          target.resetAndDestroy()
        })
      } else if (!client.write(data)) {
        target.pause()
        client.once('drain', () => target.resume())
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as { port: number }).port,
    get cuts() {
      return cuts
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
