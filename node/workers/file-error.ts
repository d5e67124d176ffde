/** What the system said of a file, as it goes between threads. */
export interface FileFailure {
  readonly doing: 'read' | 'write'
  /** As Node names it: `EIO`; `EOF` for a file that ends inside a block. */
  readonly code: string
  readonly message: string
}

/** A file that could not be read or written in a worker. */
export class FileError extends Error implements FileFailure {
  readonly doing: FileFailure['doing']
  readonly code: string

  constructor({ doing, code, message }: FileFailure) {
    super(message)
    this.doing = doing
    this.code = code
  }

  toJSON(): FileFailure {
    const { doing, code, message } = this
    return { doing, code, message }
  }
}
