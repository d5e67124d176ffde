import type { AddressInfo, Server } from 'node:net'
import { ArtifactHubError } from '../../src/errors.ts'

/**
 * Begins to listen; gives the port.
 * @param backlog connections that may wait to be taken; of more than that the system forgets some, and their clients never learn
 * @throws INVALID_ARGUMENT for an address that cannot be listened on
 */
export async function listen(server: Server, host: string, port: number, backlog: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    const onError = (cause: Error): void => {
      const why = (cause as { code?: string }).code ?? cause.message
      reject(new ArtifactHubError('INVALID_ARGUMENT', `cannot listen on ${host} port ${port} (${why})`, { cause }))
    }
    server.once('error', onError)
    server.listen({ host, port, backlog }, () => {
      server.removeListener('error', onError)
      resolve()
    })
  })
  return (server.address() as AddressInfo).port
}
