import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { escapeControls } from './text/index.ts'

/** Whether there is a person to ask: input and standard error are both a terminal. */
export function canAsk(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true
}

/** Asks for a passphrase on the terminal without showing what is typed. Ctrl-D is an empty one. Rejects with the signal's reason. */
export async function askPassphrase(question: string, signal: AbortSignal): Promise<string> {
  process.stderr.write(escapeControls(question))
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  try {
    return await ask(nowhere, '', signal)
  } finally {
    process.stderr.write('\n')
  }
}

/** Asks a yes-or-no question on the terminal; anything but yes is no. Rejects with the signal's reason. */
export async function confirm(question: string, signal: AbortSignal): Promise<boolean> {
  const answer = await ask(process.stderr, `${escapeControls(question)} [y/N] `, signal)
  return /^y(es)?$/i.test(answer.trim())
}

function ask(echo: NodeJS.WritableStream, question: string, signal: AbortSignal): Promise<string> {
  const reader = createInterface({ input: process.stdin, output: echo, terminal: true })
  return new Promise<string>((resolve, reject) => {
    // In raw mode Ctrl-C is a key: hand it on as the signal that it stands for.
    reader.on('SIGINT', () => process.kill(process.pid, 'SIGINT'))
    reader.on('close', () => {
      // Only an answer has moved the cursor to a line of its own.
      echo.write('\n')
      resolve('')
    })
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    reader.question(question, (answer) => {
      reader.removeAllListeners('close')
      resolve(answer)
    })
  }).finally(() => reader.close())
}
