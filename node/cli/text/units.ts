const byteUnits = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const

/** A size as people write it, decimal like the plans: `999 B`, `1.5 kB`, `10 MB`, `4.2 GB`. */
export function formatBytes(bytes: number): string {
  if (bytes === Number.POSITIVE_INFINITY) return 'unlimited'
  if (bytes < 1000) return `${Math.round(bytes)} B`
  let value = bytes
  let unit = 0
  // 999.95 would print as 1000.0 of the smaller unit.
  while (value >= 999.5 && unit < byteUnits.length - 1) {
    value /= 1000
    unit++
  }
  const digits = value < 99.95 ? value.toFixed(1).replace(/\.0$/, '') : value.toFixed(0)
  return `${digits} ${byteUnits[unit]}`
}

/** A rate: `210 MB/s`. */
export function formatRate(bytesPerSecond: number): string {
  return `${formatBytes(bytesPerSecond)}/s`
}

/** A duration in milliseconds in its two largest units: `850 ms`, `12 s`, `3 min 20 s`, `2 h 5 min`, `4 d 3 h`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  const seconds = Math.round(ms / 1000)
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ] as const
  const first = parts.findIndex(([count]) => count > 0)
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ')
}

/** A moment in local time: `2026-11-03 14:05:09`; `short` leaves the seconds out. */
export function formatTime(date: Date, style: 'short' | 'full' = 'full'): string {
  const day = [date.getFullYear(), date.getMonth() + 1, date.getDate()].map(twoDigits).join('-')
  const time = [date.getHours(), date.getMinutes(), ...(style === 'full' ? [date.getSeconds()] : [])]
  return `${day} ${time.map(twoDigits).join(':')}`
}

/** A count with its noun: `1 block`, `2,000 blocks`. */
export function formatCount(count: number, singular: string, plural = `${singular}s`): string {
  return `${count.toLocaleString('en-US')} ${count === 1 ? singular : plural}`
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0')
}
