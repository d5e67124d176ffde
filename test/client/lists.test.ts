import { listsContract } from './contract.ts'
import { openInProcess } from './in-process.ts'

listsContract(openInProcess)
