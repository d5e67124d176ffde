const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' })

/** East Asian Wide and Fullwidth blocks (UAX #11), in the coarse ranges that terminals agree on. */
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]/u
const emoji = /\p{Emoji_Presentation}|\p{Emoji}\ufe0f/u
const invisible = /^[\p{Mn}\p{Me}\p{Cf}\u200b]+$/u
const plain = /^[\x20-\x7e]*$/

/** Columns that a terminal gives the text; it must hold no control characters (see `escapeControls`). */
export function displayWidth(text: string): number {
  if (plain.test(text)) return text.length
  let width = 0
  for (const { segment } of segmenter.segment(text)) width += graphemeWidth(segment)
  return width
}

/** The text, cut to at most `columns` columns at a whole character; what was cut ends in `ending`. */
export function truncateToWidth(text: string, columns: number, ending: '…' | '' = '…'): string {
  if (displayWidth(text) <= columns) return text
  if (columns < 1) return ''
  let kept = ''
  let width = 0
  for (const { segment } of segmenter.segment(text)) {
    width += graphemeWidth(segment)
    if (width > columns - ending.length) break
    kept += segment
  }
  return kept + ending
}

/** The text with spaces added on one side up to `columns` columns. */
export function padToWidth(text: string, columns: number, side: 'left' | 'right'): string {
  const padding = ' '.repeat(Math.max(0, columns - displayWidth(text)))
  return side === 'left' ? padding + text : text + padding
}

function graphemeWidth(grapheme: string): number {
  if (invisible.test(grapheme)) return 0
  return wide.test(grapheme) || emoji.test(grapheme) ? 2 : 1
}
