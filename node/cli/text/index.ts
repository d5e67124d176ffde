/** Between people and values: what they type is parsed here, what they read is written here. No input or output. */
export { escapeControls, escapeLines, jsonText } from './escape.ts'
export { fileNameFor } from './file-name.ts'
export { filterFrom, metadataFrom, parseJson, parseJsonObject } from './metadata.ts'
export {
  parseBytes,
  parseCount,
  parseDuration,
  parseDurationMs,
  parseMoment,
  parseRange,
  parseVersion,
  type RangeText,
} from './parse-units.ts'
export { type Column, fieldLines, Table } from './table.ts'
export { formatBytes, formatCount, formatDuration, formatRate, formatTime } from './units.ts'
export { displayWidth, padToWidth, truncateToWidth } from './width.ts'
