// What a VM can be made to do. Its allowedActions decide which of these are offered; this table says
// only how each is called, and what a person should know before.
import type { Schemas, Verb, VM } from '../api/client'

export type Risk =
  | 'none'
  | 'interrupts' // the guest is not asked, or what it does is cut off
  | 'destroys' // something is lost for good

export type FieldName =
  | 'host' | 'displayName' | 'coldMode' | 'vcpus' | 'memory' | 'live' | 'key' | 'trigger' | 'disk' | 'imageName'

export interface Action {
  /** Tells apart what one verb can mean, such as a clean and a hard shutdown. */
  key: string
  verb: Verb
  label: string
  /** What is sent whatever the form says. */
  args: Readonly<Record<string, unknown>>
  query: Readonly<Record<string, string>>
  fields: readonly FieldName[]
  optional: readonly FieldName[]
  risk: Risk
  /** What happens, in a sentence, where the label does not say it all. */
  about: string
  /** Makes sense for many VMs at once. */
  bulk: boolean
}

type Row = Partial<Omit<Action, 'key' | 'verb' | 'label'>> & { verb: Verb; raws?: readonly string[]; label: string }

const graceful = { mode: 'GRACEFUL' }
const force = { mode: 'FORCE' }

// In the order in which they are shown. A row without raws is meant by any that the backend names.
const table: readonly Row[] = [
  { verb: 'start', label: 'Start', raws: ['start', 'resume', 'release', 'boot', 'restart'], bulk: true },
  { verb: 'start', label: 'Start on a host…', raws: ['start_on'], fields: ['host'] },
  { verb: 'resume', label: 'Resume', raws: ['resume'], bulk: true },
  { verb: 'resume', label: 'Resume on a host…', raws: ['resume_on'], fields: ['host'] },
  { verb: 'unpause', label: 'Unpause', bulk: true },
  { verb: 'release', label: 'Release', about: 'The scheduler may place the VM again.', bulk: true },
  { verb: 'deploy', label: 'Deploy on a host…', fields: ['host'], about: 'Starts the VM on this host, without the scheduler.' },
  { verb: 'shutdown', label: 'Shut down', raws: ['poweroff', 'clean_shutdown'], args: graceful, bulk: true, about: 'The guest is asked to shut down. The VM keeps its disks and its place.' },
  { verb: 'reboot', label: 'Reboot', raws: ['reboot', 'clean_reboot'], args: graceful, bulk: true, about: 'The guest is asked to restart.' },
  { verb: 'pause', label: 'Pause', about: 'The processors stop; the memory stays.', bulk: true },
  { verb: 'suspend', label: 'Suspend', about: 'The memory is saved to disk, and the VM stops.', bulk: true },
  { verb: 'stop', label: 'Stop to storage', about: 'Memory and disks are moved to the storage, and the host is freed.', bulk: true },
  { verb: 'undeploy', label: 'Undeploy', raws: ['undeploy'], args: graceful, bulk: true, about: 'The guest shuts down, the disks are moved to the storage, and the host is freed.' },
  { verb: 'hold', label: 'Hold', about: 'The scheduler leaves the VM alone.', bulk: true },
  { verb: 'migrate', label: 'Migrate live…', raws: ['live-migrate', 'pool_migrate'], args: { live: true }, fields: ['host'] },
  { verb: 'migrate', label: 'Migrate cold…', raws: ['migrate'], args: { live: false }, fields: ['host', 'coldMode'], about: 'The VM stops while it is moved.' },
  { verb: 'resize', label: 'Resize…', fields: ['vcpus', 'memory', 'live'], optional: ['vcpus', 'memory', 'live'] },
  { verb: 'clone', label: 'Clone…', fields: ['displayName'], about: 'Makes a new VM, with copy-on-write disks where the storage can.' },
  { verb: 'copy', label: 'Copy…', fields: ['displayName'], about: 'Makes a new VM, with full copies of the disks.' },
  { verb: 'saveDisk', label: 'Save a disk as an image…', fields: ['disk', 'imageName'] },
  { verb: 'provision', label: 'Provision', about: 'Turns the clone of a template into a VM.' },
  { verb: 'sendSysrq', label: 'Send a SysRq key…', fields: ['key'] },
  { verb: 'sendTrigger', label: 'Send a trigger…', fields: ['trigger'] },
  { verb: 'refreshAllowedActions', label: 'Refresh the allowed actions' },
  { verb: 'recover', label: 'Recover: try again', raws: ['recover-retry'], args: { outcome: 'RETRY' }, bulk: true },
  { verb: 'recover', label: 'Recover: as done', raws: ['recover-success'], args: { outcome: 'SUCCESS' }, risk: 'interrupts', about: 'OpenNebula takes the step that hangs for done. Make sure that it is.' },
  { verb: 'recover', label: 'Recover: as failed', raws: ['recover-failure'], args: { outcome: 'FAILURE' }, risk: 'interrupts', about: 'OpenNebula takes the step that hangs for failed.' },
  { verb: 'shutdown', label: 'Power off', raws: ['poweroff-hard', 'hard_shutdown'], args: force, risk: 'interrupts', bulk: true, about: 'The guest is not asked: what it has not written to disk is lost.' },
  { verb: 'reboot', label: 'Reset', raws: ['reboot-hard', 'hard_reboot', 'reset'], args: force, risk: 'interrupts', bulk: true, about: 'The guest is not asked: what it has not written to disk is lost.' },
  { verb: 'undeploy', label: 'Undeploy, hard', raws: ['undeploy-hard'], args: force, risk: 'interrupts', bulk: true, about: 'The guest is not asked: what it has not written to disk is lost. The disks are moved to the storage.' },
  { verb: 'resetPowerState', label: 'Reset the power state', risk: 'interrupts', about: 'Only the record changes, nothing is stopped. On a host that is alive after all, the VM would run twice and damage its disks.' },
  { verb: 'recreate', label: 'Recreate', risk: 'destroys', bulk: true, about: 'The VM is deleted from its host and begins anew under the same id. What is on its non-persistent disks is lost.' },
  { verb: 'recover', label: 'Recover: recreate', raws: ['recover-recreate'], args: { outcome: 'RECREATE' }, risk: 'destroys', about: 'The VM begins anew under the same id. What is on its non-persistent disks is lost.' },
  { verb: 'terminate', label: 'Terminate', raws: ['terminate', 'shutdown'], args: graceful, risk: 'destroys', bulk: true, about: 'The guest shuts down, and the VM is gone for good. Its volatile disks are lost.' },
  { verb: 'terminate', label: 'Terminate, hard', raws: ['terminate-hard', 'shutdown-hard', 'cancel'], args: force, risk: 'destroys', bulk: true, about: 'The guest is not asked, and the VM is gone for good. Its volatile disks are lost.' },
  { verb: 'recover', label: 'Recover: delete', raws: ['recover-delete'], args: { outcome: 'DELETE' }, risk: 'destroys', about: 'The VM is gone for good, whatever its state. Its volatile disks are lost.' },
  { verb: 'recover', label: 'Recover: delete the record', raws: ['recover-delete-db'], args: { outcome: 'DELETE_DB' }, risk: 'destroys', about: 'The VM is ended in the database alone: what runs on the host goes on, and nobody looks after it.' },
  { verb: 'delete', label: 'Delete', raws: ['terminate-hard', 'destroy', 'delete', 'finalize'], risk: 'destroys', bulk: true, about: 'The VM is gone for good, with its volatile disks. Images stay.' },
  { verb: 'delete', label: 'Delete, by force', raws: ['recover-delete'], query: { force: 'true' }, risk: 'destroys', bulk: true, about: 'The VM is gone for good, whatever is under way, with its volatile disks. Images stay.' },
]

/** All that are known, each once. */
export const catalog: readonly (Action & { raws: readonly string[] | undefined })[] = table.map(row => ({
  args: {}, query: {}, fields: [], optional: [], risk: 'none', about: '', bulk: false,
  ...row,
  raws: row.raws,
  key: `${row.verb} ${row.label}`,
}))

/** What is offered for a VM: exactly what its allowedActions say, in the catalog's order. */
export function actionsOf(vm: Pick<VM, 'allowedActions'>): Action[] {
  const allowed = vm.allowedActions ?? []
  return catalog.filter(({ verb, raws }) => allowed.some(a => a.action === verb && (!raws || raws.includes(a.raw))))
}

/** What the backend would allow, and the gateway has no call for. */
export function otherActions(vm: Pick<VM, 'allowedActions'>): string[] {
  return (vm.allowedActions ?? []).filter((a: Schemas['AllowedAction']) => a.action === undefined).map(a => a.raw)
}

export interface Slot {
  label: string
  action: Action | undefined // undefined: the VM does not allow it now
}

const slots: readonly (readonly string[])[] = [
  ['start Start', 'resume Resume', 'unpause Unpause'],
  ['shutdown Shut down'],
  ['reboot Reboot'],
]

/**
 * The buttons. Each keeps its place whatever the state, so that nobody who clicks twice hits another
 * one that has come under the pointer. All else is in the menu.
 */
export function slotsOf(actions: readonly Action[]): Slot[] {
  return slots.map(keys => {
    const action = actions.find(a => keys.includes(a.key))
    return { label: action?.label ?? keys[0]!.slice(keys[0]!.indexOf(' ') + 1), action }
  })
}
