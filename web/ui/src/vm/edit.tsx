// Changing a VM: what is sent is only what differs, and it is shown before.
import { useQueryClient } from '@tanstack/react-query'
import { Plus, X } from 'lucide-react'
import { type FormEvent, useState } from 'react'

import type { Call } from '../actions/call'
import { useActions } from '../actions/context'
import { DryRun } from '../actions/dialog'
import { type Backend, type Problem, problemOf, type VM } from '../api/client'
import { Button, Dialog, Field, ProblemNote } from '../ui/parts'

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

export function EditDialog({ vm, backend, onClose }: { vm: VM; backend: Backend; onClose(): void }) {
  const { run } = useActions()
  const client = useQueryClient()
  const [base] = useState(vm) // what the changes are made to: it stands still while they are made
  const [draft, setDraft] = useState(() => draftOf(vm))
  const [problem, setProblem] = useState<Problem>()
  const [busy, setBusy] = useState(false)
  const writes = (member: string) => backend.capabilities?.members.includes(member) ?? false
  const patch = patchOf(base, draft)
  const empty = Object.keys(patch).length === 0
  const call: Call = { method: 'PATCH', path: `/vms/${base.id}`, query: {}, body: patch, etag: base.etag }
  const set = (part: Partial<Draft>) => setDraft(all => ({ ...all, ...part }))

  const submit = async (event: FormEvent) => {
    event.preventDefault()
    setBusy(true)
    setProblem(undefined)
    try {
      await run(call, `Changed: ${draft.displayName || base.id}`, { id: base.id, name: draft.displayName })
      await client.invalidateQueries({ queryKey: ['vm', base.id] })
      onClose()
    } catch (thrown) {
      setProblem(problemOf(thrown))
      setBusy(false)
    }
  }
  return (
    <Dialog open onClose={onClose} title={`Edit ${vm.displayName || vm.id}`}>
      <form className="form" onSubmit={event => void submit(event)}>
        {base.etag !== vm.etag && <p className="loss" role="status">Somebody has changed this VM meanwhile. What you save here will be refused; open the form again to see the VM as it is.</p>}
        <Field label="Name">{props => <input {...props} value={draft.displayName} maxLength={128} onChange={e => set({ displayName: e.target.value })} autoComplete="off" />}</Field>
        <Field label="Description">{props => <textarea {...props} rows={2} value={draft.description} onChange={e => set({ description: e.target.value })} />}</Field>
        <div className="two">
          {writes('cpu.vcpus') && <Field label="Processors">{props => <input {...props} type="number" min={1} value={draft.vcpus} onChange={e => set({ vcpus: e.target.value })} />}</Field>}
          {writes('memory.dynamicMaxBytes') && <Field label="Memory, in MiB">{props => <input {...props} type="number" min={1} value={draft.memoryMiB} onChange={e => set({ memoryMiB: e.target.value })} />}</Field>}
        </div>
        {writes('annotations') && <Annotations list={draft.annotations} set={annotations => set({ annotations })} />}
        {problem && <ProblemNote problem={problem} />}
        <DryRun call={call} ready={!empty} before={empty ? 'Nothing is changed yet.' : 'Only what you changed is sent, and only if nobody has changed the VM since.'} />
        <div className="dialog-foot">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="main" disabled={busy || empty}>Save</Button>
        </div>
      </form>
    </Dialog>
  )
}

function Annotations({ list, set }: { list: Draft['annotations']; set(list: Draft['annotations']): void }) {
  const change = (at: number, entry: readonly [string, string]) => set(list.map((old, i) => (i === at ? entry : old)))
  return (
    <fieldset className="map">
      <legend>Annotations</legend>
      {list.map(([key, value], i) => (
        <div key={i} className="map-row">
          <input aria-label={`Name of annotation ${i + 1}`} value={key} onChange={e => change(i, [e.target.value, value])} autoComplete="off" spellCheck={false} />
          <input aria-label={`Value of annotation ${i + 1}`} value={value} onChange={e => change(i, [key, e.target.value])} autoComplete="off" />
          <button type="button" className="icon-button" aria-label={`Remove annotation ${i + 1}`} onClick={() => set(list.filter((_, j) => j !== i))}><X size={15} /></button>
        </div>
      ))}
      <Button small onClick={() => set([...list, ['', '']])}><Plus size={14} aria-hidden />Add one</Button>
    </fieldset>
  )
}
