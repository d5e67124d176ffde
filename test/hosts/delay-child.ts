/**
 * Passes TCP connections on, every byte late by as long as the first argument says, milliseconds, each way: the others are the port to
 * listen on, and host and port to pass on to. Says `ready` once it listens; ends when standard input does.
 */
import { once } from 'node:events'
import { writeSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'

const [delayMs, listenPort, host, port] = process.argv.slice(2) as [string, string, string, string]
/** What may be under way in one direction, bytes: more than a fast line holds in that time. */
const maxBytes = 16 * 1024 * 1024

const server = createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
  const far = connect({ host, port: Number(port), noDelay: true, allowHalfOpen: true })
  pass(near, far)
  pass(far, near)
}).listen(Number(listenPort))
await once(server, 'listening')
writeSync(1, 'ready\n')
process.stdin.resume().once('end', () => process.exit())

function pass(from: Socket, to: Socket): void {
  let underWay = 0
  const later = (work: () => void) => setTimeout(work, Number(delayMs))
  from.on('data', (bytes) => {
    underWay += bytes.length
    if (underWay > maxBytes) from.pause()
    later(() =>
      to.write(bytes, () => {
        underWay -= bytes.length
        from.resume()
      }),
    )
  })
  from.on('end', () => later(() => to.end()))
  from.on('error', () => {})
  from.on('close', (hadError) => later(() => (hadError ? to.destroy() : to.end())))
}
