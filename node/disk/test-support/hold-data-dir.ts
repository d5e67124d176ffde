/** Opens the data directory named by the first argument, says what came of it in one line of JSON, and holds it until stdin ends. */
import { DataDir } from '../data-dir.ts'

try {
  await using dir = await DataDir.open({ path: process.argv[2] as string })
  console.log(JSON.stringify({ opened: dir.path }))
  for await (const _ of process.stdin);
} catch (error) {
  const { code, message } = error as { code: string; message: string }
  console.log(JSON.stringify({ code, message }))
}
