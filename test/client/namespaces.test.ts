import { namespacesContract } from './contract.ts'
import { openInProcess } from './in-process.ts'

namespacesContract(openInProcess)
