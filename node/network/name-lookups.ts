import { lookup } from 'node:dns'
import type { LookupFunction } from 'node:net'
import { Turns } from '../../src/exchange/turns.ts'
import { dialConnectMs, maxNameLookups } from '../../src/limits.ts'
import { afterWhatCame } from './connect-limit.ts'

/**
 * Looks up names of hosts, so many at a time: each holds one of Node's four threads, on which the disk waits as well, until whoever answers for that name does, and
 * anyone may name some who never do. One that waits for as long as a connection may take is not looked up.
 */
export function boundedLookup(lookUp: LookupFunction): LookupFunction {
  const turns = new Turns(maxNameLookups)
  return (name, options, answer) => {
    const late = new AbortController()
    const stop = afterWhatCame(dialConnectMs, () => late.abort(new Error(`${name} was not looked up: others are`)))
    const looking = turns.run(late.signal, () => {
      stop()
      return new Promise<void>((resolve) => {
        lookUp(name, options, (...all) => {
          resolve()
          answer(...all)
        })
      })
    })
    looking.catch((error) => answer(error, ''))
  }
}

/** For all connections of this process, whose threads they are. */
export const lookUpInTurn = boundedLookup(lookup)
