import { ArtifactHubError } from '../../../src/errors.ts'
import type { CheckReport, DiskUsage, Finding } from '../../node-types.ts'
import type { CommandGroup } from '../command.ts'
import type { Session } from '../session.ts'
import { escapeControls, fieldLines, formatBytes, formatCount } from '../text/index.ts'
import { status } from './status.ts'

/** Commands about the node itself: `status`, `check`, `gc`, `du`. */
export const maintenanceCommands: CommandGroup = (program, act) => {
  program
    .command('status')
    .description('show the node and its namespaces; with --network or --listen how it finds the others, too')
    .option('--wait <duration>', 'with a network: how long to wait for a first sync', '3s')
    .action(act(status))
  program
    .command('check')
    .description(
      'verify index, entries, signatures and that all content is there; exit 14 if anything is wrong and stays so',
    )
    .option('--read-data', 'read and verify every byte, too')
    .option('--repair', 'quarantine what is broken and rebuild what can be; deletes nothing')
    .action(act(check))
  program
    .command('gc')
    .description('give back the space of deleted versions and interrupted uploads older than 7 days')
    .option('--now', 'whatever their age')
    .action(act(gc))
  program.command('du').description('show what each namespace takes on the disk').action(act(du))
}

async function check(session: Session, options: { readData?: boolean; repair?: boolean }): Promise<void> {
  const node = await session.node()
  using progress = session.progress('check')
  const { readData, repair } = options
  const report = await node.check({ readData, repair, signal: session.signal, onProgress: progress.step })
  progress.close()
  await session.result(report, checkText(report))
  const open = report.findings.filter((finding) => !finding.repaired)
  if (open.length > 0) {
    throw new ArtifactHubError(
      'CORRUPT',
      `${formatCount(open.length, 'thing')} wrong${repair ? ' that could not be repaired' : ''}`,
      {
        details: { findings: report.findings.length, unrepaired: open.length },
      },
    )
  }
}

function checkText(report: CheckReport): string {
  const read = report.bytesRead > 0 ? `, ${formatBytes(report.bytesRead)} read` : ''
  const seen = [
    formatCount(report.entries, 'entry', 'entries'),
    formatCount(report.versions, 'version'),
    formatCount(report.blocks, 'block'),
  ].join(', ')
  const verdict = report.findings.length === 0 ? 'all is well' : formatCount(report.findings.length, 'finding')
  return `${report.findings.map(findingText).join('')}checked ${seen}${read}: ${verdict}\n`
}

function findingText(finding: Finding): string {
  const lines = [
    `${finding.repaired ? 'repaired' : 'WRONG'}  ${finding.kind}  ${finding.namespace}  ${finding.message}`,
  ]
  for (const artifact of finding.artifacts) lines.push(`  cannot be read whole: ${artifact}`)
  return lines.map((line) => `${escapeControls(line)}\n`).join('')
}

async function gc(session: Session, options: { now?: boolean }): Promise<void> {
  const node = await session.node()
  const report = await node.gc({ now: options.now, signal: session.signal })
  const { removedBlocks, removedBytes, freedBytes, erasedBodies, keptBlocks } = report
  await session.result(
    { removedBlocks, removedBytes, freedBytes, erasedBodies, keptBlocks },
    fieldLines([
      ['freed', formatBytes(freedBytes)],
      ['removed', `${formatCount(removedBlocks, 'block')}, ${formatCount(erasedBodies, 'entry body', 'entry bodies')}`],
      ['kept for now', formatCount(keptBlocks, 'block')],
    ]),
  )
}

async function du(session: Session): Promise<void> {
  const node = await session.node()
  const rows = await node.du({ signal: session.signal })
  const table = session.table<DiskUsage>([
    { title: 'NAMESPACE', cell: (row) => row.name, shrinkTo: 16 },
    { title: 'PACKS', cell: (row) => formatBytes(row.packBytes), align: 'right' },
    { title: 'DEAD', cell: (row) => formatBytes(row.deadBytes), align: 'right' },
    { title: 'BLOCKS', cell: (row) => row.blocks.toLocaleString('en-US'), align: 'right' },
    { title: 'LOG', cell: (row) => formatBytes(row.entryBytes), align: 'right' },
    { title: 'ID', cell: (row) => row.namespace },
  ])
  await session.result(rows, table.render(rows))
}
