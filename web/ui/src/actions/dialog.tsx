// Asks for what an action needs, says what it costs, and shows what would go out.
import { useQuery } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'

import { api, body, type Host, type Plan, type Problem, problemOf, type VM } from '../api/client'
import { Button, Code, Dialog, Field, Loading, ProblemNote } from '../ui/parts'
import { type Call, callOf, curl, dryRun } from './call'
import type { Action, FieldName } from './catalog'
import { type Subject, titleOf, useActions } from './context'
import { type FormState, valuesOf } from './form'

export function ActionDialog({ action, subject, onClose }: { action: Action; subject: Subject; onClose(): void }) {
  const { run } = useActions()
  const [form, setForm] = useState<FormState>({})
  const [typed, setTyped] = useState('')
  const [problem, setProblem] = useState<Problem>()
  const [busy, setBusy] = useState(false)
  const title = titleOf(action, subject)
  const call = callOf(action, subject.id, valuesOf(action, form))
  const missing = action.fields.some(f => !action.optional.includes(f) && !form[f])
  const name = subject.name || subject.id
  const sure = action.risk !== 'destroys' || typed === name

  const submit = async (event: FormEvent) => {
    event.preventDefault()
    setBusy(true)
    setProblem(undefined)
    try {
      await run(call, title, subject)
      onClose()
    } catch (thrown) {
      setProblem(problemOf(thrown))
      setBusy(false)
    }
  }
  return (
    <Dialog open onClose={onClose} title={title}>
      <form className="form" id="action-form" onSubmit={event => void submit(event)}>
        {action.about && <p className={action.risk === 'none' ? '' : 'loss'}>{action.about}</p>}
        <VMFields action={action} subject={subject} form={form} setForm={setForm} />
        {action.risk === 'destroys' && (
          <Field label={`To go on, type ${name}`}>
            {props => <input {...props} value={typed} onChange={e => setTyped(e.target.value)} autoComplete="off" spellCheck={false} />}
          </Field>
        )}
        {problem && <ProblemNote problem={problem} />}
        <DryRun call={call} ready={!missing} />
        <div className="dialog-foot">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone={action.risk === 'none' ? 'main' : 'danger'} disabled={busy || missing || !sure}>
            {action.label.replace('…', '')}
          </Button>
        </div>
      </form>
    </Dialog>
  )
}

interface FieldsProps {
  action: Action
  subject: Subject
  form: FormState
  setForm(change: (form: FormState) => FormState): void
}

function VMFields({ action, subject, form, setForm }: FieldsProps) {
  const set = (field: FieldName) => (value: string) => setForm(all => ({ ...all, [field]: value }))
  const text = (field: FieldName, label: string, hint?: string) => (
    <Field key={field} label={label} hint={hint}>
      {props => (
        <input
          {...props}
          value={form[field] ?? ''}
          onChange={e => set(field)(e.target.value)}
          autoComplete="off"
          required={!action.optional.includes(field)}
        />
      )}
    </Field>
  )
  const number = (field: FieldName, label: string, step: number) => (
    <Field key={field} label={label} hint="Empty: as it is.">
      {props => (
        <input {...props} type="number" min={step} step={step} value={form[field] ?? ''} onChange={e => set(field)(e.target.value)} />
      )}
    </Field>
  )
  return action.fields.map(field => {
    switch (field) {
      case 'host':
        return <HostField key={field} subject={subject} value={form.host ?? ''} set={set('host')} />
      case 'disk':
        return <DiskField key={field} subject={subject} value={form.disk ?? ''} set={set('disk')} />
      case 'displayName':
        return text(field, 'Name of the new VM')
      case 'imageName':
        return text(field, 'Name of the new image')
      case 'key':
        return text(field, 'SysRq key', 'One letter, as the guest’s kernel knows it.')
      case 'trigger':
        return text(field, 'Trigger', 'Such as nmi.')
      case 'vcpus':
        return number(field, 'Virtual processors', 1)
      case 'memory':
        return number(field, 'Memory, in MiB', 1)
      case 'live':
        return (
          <label key={field} className="check">
            <input type="checkbox" checked={form.live === 'true'} onChange={e => set('live')(e.target.checked ? 'true' : '')} /> While it
            runs
          </label>
        )
      case 'coldMode':
        return (
          <Field key={field} label="How it stops">
            {props => (
              <select {...props} value={form.coldMode ?? ''} onChange={e => set('coldMode')(e.target.value)}>
                <option value="">Choose…</option>
                <option value="SAVE">Save its memory, and restore it there</option>
                <option value="POWEROFF">Shut down, and start there</option>
                <option value="POWEROFF_HARD">Power off without asking the guest, and start there</option>
              </select>
            )}
          </Field>
        )
    }
  })
}

const roomOf = (host: Host) => (host.state === 'ENABLED' ? '' : ` (${host.state.toLowerCase()})`)

function HostField({ subject, value, set }: { subject: Subject; value: string; set(value: string): void }) {
  const hosts = useQuery({
    queryKey: ['vm', subject.id, 'possibleHosts'],
    queryFn: async () => (await body(api.GET('/vms/{vm}/possibleHosts', { params: { path: { vm: subject.id } } }))).hosts,
  })
  if (hosts.error) return <ProblemNote problem={problemOf(hosts.error)} retry={() => void hosts.refetch()} />
  if (!hosts.data) return <Loading lines={1} />
  return (
    <Field
      label="Host"
      hint={
        hosts.data.length === 0 ? 'The backend names no host that could take this VM.' : 'Those that the backend says could take this VM.'
      }
    >
      {props => (
        <select {...props} value={value} onChange={e => set(e.target.value)} required>
          <option value="">Choose…</option>
          {hosts.data.map(h => (
            <option key={h.id} value={h.id}>
              {h.displayName}
              {roomOf(h)}
            </option>
          ))}
        </select>
      )}
    </Field>
  )
}

const nativeOf = (id: string) => id.slice(id.indexOf('.') + 1)

function DiskField({ subject, value, set }: { subject: Subject; value: string; set(value: string): void }) {
  const vm = useVM(subject.id)
  if (vm.error) return <ProblemNote problem={problemOf(vm.error)} retry={() => void vm.refetch()} />
  if (!vm.data) return <Loading lines={1} />
  const disks = (vm.data.disks ?? []).filter(d => d.type === 'DISK')
  return (
    <Field label="Disk">
      {props => (
        <select {...props} value={value} onChange={e => set(e.target.value)} required>
          <option value="">Choose…</option>
          {disks.map(d => (
            <option key={d.id} value={d.id}>
              {d.device ?? nativeOf(d.id)} {d.image?.displayName}
            </option>
          ))}
        </select>
      )}
    </Field>
  )
}

export function useVM(id: string) {
  return useQuery({
    queryKey: ['vm', id, 'full'],
    queryFn: ({ signal }): Promise<VM> => body(api.GET('/vms/{vm}', { params: { path: { vm: id } }, signal })),
  })
}

/** What would go out to the backend, on demand, and the same as a command. */
export function DryRun({ call, ready, before }: { call: Call; ready: boolean; before?: string }) {
  const [plan, setPlan] = useState<{ key: string; plan?: Plan; problem?: Problem; busy?: boolean }>()
  const key = JSON.stringify(call)
  const look = async () => {
    setPlan({ key, busy: true })
    try {
      const plan = await dryRun(call)
      setPlan({ key, plan })
    } catch (thrown) {
      setPlan({ key, problem: problemOf(thrown) })
    }
  }
  const shown = plan?.key === key ? plan : undefined
  return (
    <details className="dry-run">
      <summary>What would be sent</summary>
      {before && <p className="hint">{before}</p>}
      <Code label="as a curl command" text={curl(call)} />
      <Button small onClick={() => void look()} disabled={!ready || shown?.busy}>
        Ask for a dry run
      </Button>
      {shown?.problem && <ProblemNote problem={shown.problem} />}
      {shown?.plan && <PlanView plan={shown.plan} />}
    </details>
  )
}

export function PlanView({ plan }: { plan: Plan }) {
  return (
    <div className="plan" role="status">
      <p data-tone={plan.allowed ? 'good' : 'bad'} className="verdict">
        {plan.allowed ? 'The backend would allow it.' : `The backend would refuse it: ${plan.reason ?? 'it does not say why.'}`}
      </p>
      {plan.calls.length === 0 ? (
        <p className="hint">Nothing would be sent to the backend.</p>
      ) : (
        <Code
          label="calls to the backend"
          text={plan.calls.map(c => `${c.method}(${c.arguments.map(a => JSON.stringify(a)).join(', ')})`).join('\n')}
        />
      )}
    </div>
  )
}
