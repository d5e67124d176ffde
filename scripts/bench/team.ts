import { JobProcess } from './job-process.ts'
import type { MemberJobs } from './member-process.ts'
import type { Bench } from './section.ts'

/** A node in a process of its own. */
export interface Member {
  readonly jobs: JobProcess<MemberJobs>
  readonly did: string
  close(): Promise<void>
  /** Ends the process and starts another on the same data: in place of this one. */
  restarted(): Promise<Member>
}

/** Starts a node on a new data directory, which goes when the node is closed. */
export async function startMember({ workspace }: Pick<Bench, 'workspace'>): Promise<Member> {
  return await memberOn(workspace.newPath('member'), workspace)
}

async function memberOn(dataDir: string, workspace: Bench['workspace']): Promise<Member> {
  const jobs = new JobProcess<MemberJobs>(new URL('./member-process.ts', import.meta.url))
  const { result: did } = await jobs.run('open', dataDir)
  const stop = async () => {
    await jobs.run('close', undefined as never)
    await jobs.close()
  }
  return {
    jobs,
    did,
    async close() {
      await stop()
      await workspace.remove(dataDir)
    },
    async restarted() {
      await stop()
      return await memberOn(dataDir, workspace)
    },
  }
}

/** Starts a node that founds the namespace all share. */
export async function startFounder(bench: Pick<Bench, 'workspace'>): Promise<Member> {
  const founder = await startMember(bench)
  await founder.jobs.run('found', undefined as never)
  return founder
}

/** Has the founder grant a role to new nodes, and these join: they have what the namespace has then. */
export async function admit(founder: Member, members: readonly Member[], role: 'writer' | 'reader'): Promise<void> {
  const { result: ticket } = await founder.jobs.run('grant', { dids: members.map(({ did }) => did), role })
  for (const member of members) await member.jobs.run('join', ticket)
}
