/**
 * What a terminal would act on instead of showing: C0, DEL, C1, line and paragraph separators, the controls that
 * reorder text (Unicode TR9), lone surrogates.
 */
const unsafe = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\p{Surrogate}/gu

/**
 * The text with everything a terminal would act on written as JavaScript escapes (`\x1b`, `\u202e`), so that a name or a
 * message that another agent chose cannot move the cursor, recolour the screen or reverse what a person reads.
 */
export function escapeControls(text: string): string {
  return text.replace(unsafe, (character) => {
    const code = character.charCodeAt(0)
    if (character === '\n') return '\\n'
    if (character === '\t') return '\\t'
    if (character === '\r') return '\\r'
    return code <= 0xff ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
  })
}

/** As `escapeControls`, but keeps the line breaks of a message of several lines. */
export function escapeLines(text: string): string {
  return text.split('\n').map(escapeControls).join('\n')
}

/**
 * JSON text that is safe to show: what `JSON.stringify` leaves raw (DEL, C1, bidi controls) is escaped as `\uXXXX`. Such
 * characters stand only inside strings, so the value is the same.
 */
export function jsonText(value: unknown, indent?: number): string {
  const text = JSON.stringify(value, null, indent) ?? 'null'
  return text.replace(unsafe, (character) =>
    character === '\n' ? character : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
