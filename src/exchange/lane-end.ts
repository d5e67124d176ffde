/** Why a lane ended: `done` means by this side, with nothing against the provider. */
export type LaneEndKind =
  | 'done'
  /** The other side ended the stream while nothing was asked of it. */
  | 'ended'
  | 'unreachable'
  | 'refused'
  | 'cut'
  | 'silent'
  | 'too-slow'
  | 'bad-block'
  | 'bad-frame'
  | 'false-claim'

/** How a lane ended, for people too. */
export interface LaneEnd {
  readonly kind: LaneEndKind
  readonly answer: string
}

/** How a lane fails; whoever uses a lane sees a LaneEnd. */
export class LaneFailure extends Error {
  readonly kind: LaneEndKind

  constructor(kind: LaneEndKind, answer: string) {
    super(answer)
    this.kind = kind
  }
}

export function badBlock(): LaneFailure {
  return new LaneFailure('bad-block', 'sent bytes that are not the block')
}
