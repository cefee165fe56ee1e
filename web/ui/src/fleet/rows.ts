// One line of the fleet's table: what is needed of a VM, and nothing more, since there may be
// 100,000 of them.
import type { State, VM } from '../api/client'

export interface Row {
  id: string
  backend: string
  name: string // "" for a VM without a name
  state: State
  baseState: State | undefined
  hostId: string | undefined
  host: string
  owner: string
  vcpus: number | undefined
  cpuShare: number | undefined
  memoryBytes: number | undefined
  createTime: number | undefined // in ms
}

/** The members of a VM that a Row is made of. */
export const rowFields =
  'id,backend,displayName,state,baseState,host,owner,cpu.vcpus,cpu.share,memory.dynamicMaxBytes,memory.staticMaxBytes,createTime'

export function rowOf(vm: VM): Row {
  return {
    id: vm.id,
    backend: vm.backend ?? vm.id.slice(0, vm.id.indexOf('.')),
    name: vm.displayName ?? '',
    state: vm.state ?? 'UNKNOWN',
    baseState: vm.baseState,
    hostId: vm.host?.id,
    host: vm.host?.displayName ?? vm.host?.id ?? '',
    owner: vm.owner?.user?.displayName ?? '',
    vcpus: vm.cpu?.vcpus,
    cpuShare: vm.cpu?.share,
    memoryBytes: vm.memory?.dynamicMaxBytes ?? vm.memory?.staticMaxBytes,
    createTime: vm.createTime ? Date.parse(vm.createTime) : undefined,
  }
}
