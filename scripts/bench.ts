/**
 * Measures this project beside restic, plain Helia and cp on this machine, in one run, and prints a table of our figure, theirs, the
 * ratio, the target and whether it is met. A missed target is printed, not an error.
 */
import { writeFile } from 'node:fs/promises'
import { crowd } from './bench/crowd.ts'
import type { SectionReport } from './bench/figures.ts'
import { gateway } from './bench/gateway.ts'
import { ingest } from './bench/ingest.ts'
import { writeRandomFile } from './bench/large-files.ts'
import { logSync } from './bench/log-sync.ts'
import { describeMachine } from './bench/machine.ts'
import { sectionText, verdict } from './bench/print-report.ts'
import { readBack } from './bench/read-back.ts'
import { remoteFetch } from './bench/remote-fetch.ts'
import { sealing } from './bench/sealing.ts'
import { secondVersion } from './bench/second-version.ts'
import type { Bench, Section } from './bench/section.ts'
import { readSettings, type Settings, usage } from './bench/settings.ts'
import { shares } from './bench/shares.ts'
import { smallArtifacts } from './bench/small-artifacts.ts'
import { start } from './bench/start.ts'
import { Workspace } from './bench/workspace.ts'

const sections: readonly Section[] = [
  ingest,
  readBack,
  secondVersion,
  smallArtifacts,
  start,
  remoteFetch,
  logSync,
  crowd,
  shares,
  sealing,
  gateway,
]

/** The most that any section has on the disk: sources, a store of every contender, and an output. */
function neededBytes({ fileBytes, artifacts }: Settings): number {
  return 8 * fileBytes + 20_000 * artifacts + 2 ** 30
}

async function main(settings: Settings, workspace: Workspace): Promise<void> {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    // The workspace goes, and programs that run are ended, as the process exits.
    process.once(signal, () => process.exit(130))
  }
  const say = (text: string) => console.error(text)
  const machine = await describeMachine(workspace.path)
  let largeFile: Promise<string> | undefined
  const bench: Bench = {
    settings,
    workspace,
    say,
    largeFile: () => {
      largeFile ??= (async () => {
        const path = workspace.newPath('random.bin')
        await writeRandomFile(path, settings.fileBytes)
        return path
      })()
      return largeFile
    },
  }
  const { cpu, cores, ramGiB, kernel, node, disk, loadBefore, restic } = machine
  console.log(
    `${cpu}, ${cores} cores, ${ramGiB} GiB RAM, ${kernel}, Node ${node}, ${disk}, ${restic ?? 'no restic'}, load ${loadBefore}`,
  )
  console.log(`medians of ${settings.runs}; MB is 10^6 bytes, MiB 2^20\n`)
  const reports: SectionReport[] = []
  for (const name of settings.sections) {
    const section = sections.find((one) => one.name === name) as Section
    const report = await section.run(bench)
    console.log(`${sectionText(report)}\n`)
    reports.push(report)
  }
  console.log(verdict(reports))
  if (settings.jsonPath !== undefined) {
    const { fileBytes, artifacts, runs } = settings
    await writeFile(
      settings.jsonPath,
      `${JSON.stringify({ machine, fileBytes, artifacts, runs, sections: reports }, undefined, 2)}\n`,
    )
  }
}

let settings: Settings
let workspace: Workspace
try {
  settings = readSettings(
    process.argv.slice(2),
    sections.map(({ name }) => name),
  )
  workspace = await Workspace.create(settings.parentDir, neededBytes(settings))
} catch (error) {
  console.error(`${error instanceof Error ? error.message : error}\n${usage}`)
  process.exit(2)
}
await main(settings, workspace)
