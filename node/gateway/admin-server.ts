import { createServer, type Server } from 'node:http'
import type { GatewayMetrics } from './gateway-metrics.ts'
import { listen } from './listen.ts'

/** Connections that wait to be taken: those who look are few. */
const maxWaiting = 128

/** Serves `/metrics`, `/healthz` and `/readyz` on a listener of its own, which the public is not to reach. */
export async function startAdminServer(
  { host, port }: { readonly host: string; readonly port: number },
  metrics: GatewayMetrics,
  isReady: () => boolean,
): Promise<{ readonly port: number; close(): Promise<void> }> {
  const server: Server = createServer({ headersTimeout: 15_000, requestTimeout: 15_000 }, (request, response) => {
    const path = request.url?.split('?', 1)[0]
    const answer = (status: number, type: string, body: string): void => {
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') answer(405, 'text/plain', 'GET only\n')
    else if (path === '/healthz') answer(200, 'text/plain', 'ok\n')
    else if (path === '/readyz') answer(isReady() ? 200 : 503, 'text/plain', isReady() ? 'ready\n' : 'closing\n')
    else if (path === '/metrics') {
      metrics.text().then(
        (text) => answer(200, metrics.contentType, text),
        () => answer(500, 'text/plain', 'no metrics\n'),
      )
    } else answer(404, 'text/plain', 'not found\n')
  })
  server.maxConnections = 64
  const bound = await listen(server, host, port, maxWaiting)
  return {
    port: bound,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    },
  }
}
