import { filesContract } from './contract.ts'
import { openInProcess } from './in-process.ts'

filesContract(openInProcess)
