import type { Connection, Transport, Upgrader } from '@libp2p/interface'
import { dialConnectMs } from '../../src/limits.ts'

/**
 * A transport that gives up an address to which there is no connection after `dialConnectMs`. One that took the connection has as long for the handshake as the
 * whole dial: it is there, and busy; of a WebSocket the connection is not there before its HTTP is answered. Where this process stood still meanwhile, what came in that time counts before the clock.
 */
export function connectsInTime<Components, T extends Transport>(
  make: (components: Components) => T,
): (components: Components) => T {
  return (components) => {
    const transport = make(components)
    const dial = transport.dial.bind(transport)
    transport.dial = async (address, options): Promise<Connection> => {
      const late = new AbortController()
      const stop = afterWhatCame(dialConnectMs, () => late.abort())
      const upgradeOutbound = ((connection, more) => {
        stop()
        return options.upgrader.upgradeOutbound(connection, { ...more, signal: options.signal })
      }) as Upgrader['upgradeOutbound']
      const upgrader = Object.assign(Object.create(options.upgrader) as Upgrader, { upgradeOutbound })
      try {
        return await dial(address, { ...options, upgrader, signal: AbortSignal.any([options.signal, late.signal]) })
      } finally {
        stop()
      }
    }
    return transport
  }
}

/** Does `work` after a time, once what had come by then was told of, unless it is stopped. @returns stops it */
export function afterWhatCame(milliseconds: number, work: () => void): () => void {
  let due: NodeJS.Immediate | undefined
  const timer = setTimeout(() => {
    due = setImmediate(work)
  }, milliseconds)
  timer.unref()
  return () => {
    clearTimeout(timer)
    clearImmediate(due)
  }
}
