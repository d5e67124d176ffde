/** The commands, one group a file. Each adds its commands to the program; none knows of another. */
export { browseCommands } from './browse.ts'
export { maintenanceCommands } from './maintenance.ts'
export { namespaceCommands } from './namespaces.ts'
export { readCommands } from './read.ts'
export { removeCommands } from './remove.ts'
export { writeCommands } from './write.ts'
