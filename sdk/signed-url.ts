const printed = Symbol.for('nodejs.util.inspect.custom')

/** What is in a link besides its URL. */
interface SignedUrlParts {
  readonly url: string
  readonly jti: string
  readonly notBefore: Date
  readonly expiresAt: Date
}

/**
 * A link to an artifact: whoever holds it may download. As text and as JSON it is its URL; printed for debugging it shows everything but
 * what makes it work, so that logs give nobody access.
 */
export class SignedUrl {
  /** A secret as long as it is good. */
  readonly url: string
  /** Its name, 32 hex digits, no secret: what `revokeSignedUrl` takes. */
  readonly jti: string
  readonly notBefore: Date
  readonly expiresAt: Date

  constructor({ url, jti, notBefore, expiresAt }: SignedUrlParts) {
    this.url = url
    this.jti = jti
    this.notBefore = notBefore
    this.expiresAt = expiresAt
  }

  toString(): string {
    return this.url
  }

  toJSON(): string {
    return this.url
  }

  [printed](): string {
    const url = this.url.replace(/cap=[^&#]*/, 'cap=[redacted]')
    return `SignedUrl { ${url}, jti: ${this.jti}, expiresAt: ${this.expiresAt.toISOString()} }`
  }
}
