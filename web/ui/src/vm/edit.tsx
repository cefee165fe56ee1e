// Changing a VM: what is sent is only what differs, and it is shown before.
import { useQueryClient } from '@tanstack/react-query'
import { Plus, X } from 'lucide-react'
import { type FormEvent, useState } from 'react'

import type { Call } from '../actions/call'
import { useActions } from '../actions/context'
import { DryRun } from '../actions/dialog'
import { type Backend, type Problem, problemOf, type VM } from '../api/client'
import { Button, Dialog, Field, ProblemNote } from '../ui/parts'
import { type Draft, draftOf, patchOf } from './patch'

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
        {base.etag !== vm.etag && (
          <p className="loss" role="status">
            Somebody has changed this VM meanwhile. What you save here will be refused; open the form again to see the VM as it is.
          </p>
        )}
        <Field label="Name">
          {props => (
            <input
              {...props}
              value={draft.displayName}
              maxLength={128}
              onChange={e => set({ displayName: e.target.value })}
              autoComplete="off"
            />
          )}
        </Field>
        <Field label="Description">
          {props => <textarea {...props} rows={2} value={draft.description} onChange={e => set({ description: e.target.value })} />}
        </Field>
        <div className="two">
          {writes('cpu.vcpus') && (
            <Field label="Processors">
              {props => <input {...props} type="number" min={1} value={draft.vcpus} onChange={e => set({ vcpus: e.target.value })} />}
            </Field>
          )}
          {writes('memory.dynamicMaxBytes') && (
            <Field label="Memory, in MiB">
              {props => (
                <input
                  {...props}
                  type="number"
                  min={1}
                  step="any"
                  value={draft.memoryMiB}
                  onChange={e => set({ memoryMiB: e.target.value })}
                />
              )}
            </Field>
          )}
        </div>
        {writes('annotations') && <Annotations list={draft.annotations} set={annotations => set({ annotations })} />}
        {problem && <ProblemNote problem={problem} />}
        <DryRun
          call={call}
          ready={!empty}
          before={empty ? 'Nothing is changed yet.' : 'Only what you changed is sent, and only if nobody has changed the VM since.'}
        />
        <div className="dialog-foot">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="main" disabled={busy || empty}>
            Save
          </Button>
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
          <input
            aria-label={`Name of annotation ${i + 1}`}
            value={key}
            onChange={e => change(i, [e.target.value, value])}
            autoComplete="off"
            spellCheck={false}
          />
          <input
            aria-label={`Value of annotation ${i + 1}`}
            value={value}
            onChange={e => change(i, [key, e.target.value])}
            autoComplete="off"
          />
          <button
            type="button"
            className="icon-button"
            aria-label={`Remove annotation ${i + 1}`}
            onClick={() => set(list.filter((_, j) => j !== i))}
          >
            <X size={15} />
          </button>
        </div>
      ))}
      <Button small onClick={() => set([...list, ['', '']])}>
        <Plus size={14} aria-hidden />
        Add one
      </Button>
    </fieldset>
  )
}
