import { linksContract } from './contract.ts'
import { openInProcess } from './in-process.ts'

linksContract(openInProcess)
