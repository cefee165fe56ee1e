// The difference between a VM and what a form says of it, as a merge patch (RFC 7396).
import type { VM } from '../api/client'

const MiB = 1024 * 1024

export interface Draft {
  displayName: string
  description: string
  vcpus: string
  memoryMiB: string
  annotations: readonly (readonly [key: string, value: string])[]
}

export function draftOf(vm: VM): Draft {
  const memory = vm.memory?.dynamicMaxBytes ?? vm.memory?.staticMaxBytes
  return {
    displayName: vm.displayName ?? '',
    description: vm.description ?? '',
    vcpus: vm.cpu?.vcpus?.toString() ?? '',
    memoryMiB: memory === undefined ? '' : String(memory / MiB),
    annotations: Object.entries(vm.annotations ?? {}),
  }
}

/** The merge patch that turns the VM into what the draft says; only what differs. */
export function patchOf(vm: VM, draft: Draft): Record<string, unknown> {
  const before = draftOf(vm)
  const patch: Record<string, unknown> = {}
  if (draft.displayName !== before.displayName) patch['displayName'] = draft.displayName
  if (draft.description !== before.description) patch['description'] = draft.description || null
  if (draft.vcpus !== before.vcpus && draft.vcpus) patch['cpu'] = { vcpus: Number(draft.vcpus) }
  if (draft.memoryMiB !== before.memoryMiB && draft.memoryMiB) patch['memory'] = memorySizes(vm, Number(draft.memoryMiB) * MiB)
  const annotations = mapPatch(vm.annotations ?? {}, draft.annotations)
  if (Object.keys(annotations).length > 0) patch['annotations'] = annotations
  return patch
}

/** XenAPI orders its sizes: the lower ones follow where they would be above, or were the same. */
function memorySizes(vm: VM, most: number) {
  const { dynamicMinBytes: least, dynamicMaxBytes: dynamic, staticMinBytes: floor } = vm.memory ?? {}
  if (vm.kind !== 'XENAPI') return { dynamicMaxBytes: most }
  const follows = least === undefined || least === dynamic || least > most
  return {
    dynamicMaxBytes: most,
    ...(follows && { dynamicMinBytes: most }),
    ...(vm.state === 'STOPPED' && { staticMaxBytes: most }),
    ...(vm.state === 'STOPPED' && floor !== undefined && floor > most && { staticMinBytes: most }),
  }
}

function mapPatch(before: Readonly<Record<string, string>>, after: Draft['annotations']): Record<string, string | null> {
  const wanted = new Map(after.filter(([key]) => key !== ''))
  const patch: Record<string, string | null> = {}
  for (const [key, value] of wanted) if (before[key] !== value) patch[key] = value
  for (const key of Object.keys(before)) if (!wanted.has(key)) patch[key] = null
  return patch
}
