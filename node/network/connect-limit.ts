import type { Connection, DialTransportOptions, Transport, Upgrader } from '@libp2p/interface'
import { dialConnectMs } from '../../src/limits.ts'

/** What a transport is dialled with that has something to settle between TCP's connection and libp2p's. */
export interface ConnectOptions {
  readonly signal?: AbortSignal
  /** To be told that the other side has taken the connection. */
  readonly onConnect?: () => void
}

/**
 * A transport that gives up an address to which there is no TCP connection after `dialConnectMs`. One that took the connection has as long for what follows as the
 * whole dial: it is there, and busy. Where this process stood still meanwhile, what came in that time counts before the clock. A connection of which nothing comes is cut.
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
      const upgradeOutbound: Upgrader['upgradeOutbound'] = async (connection, more) => {
        stop()
        try {
          return await options.upgrader.upgradeOutbound(connection, { ...more, signal: options.signal })
        } catch (error) {
          connection.abort(error as Error)
          throw error
        }
      }
      const upgrader = Object.assign(Object.create(options.upgrader) as Upgrader, { upgradeOutbound })
      const signal = AbortSignal.any([options.signal, late.signal])
      const connecting: DialTransportOptions & ConnectOptions = { ...options, upgrader, signal, onConnect: stop }
      try {
        return await dial(address, connecting)
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
