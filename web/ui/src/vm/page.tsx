// One VM: all that the API knows of it, for people.
import { useQuery } from '@tanstack/react-query'
import { ArrowLeft, ChevronDown, Pencil, RefreshCw, Terminal } from 'lucide-react'
import { useEffect, useState } from 'react'
import { Link } from 'wouter'

import { type Action, actionsOf, otherActions, slotsOf } from '../actions/catalog'
import { callOf, curl } from '../actions/call'
import { useActions } from '../actions/context'
import { useVM } from '../actions/dialog'
import { api, body, problemOf, Refusal, type VM } from '../api/client'
import { useFleet, useFleetState } from '../fleet/hooks'
import { OperationTable } from '../operations/table'
import { useBackends } from '../session/session'
import { ago, time, useNow, words } from '../ui/format'
import { Button, Card, Code, CopyButton, Loading, Menu, ProblemNote, useTitle } from '../ui/parts'
import { StateMark } from '../ui/state'
import { BackendCards, Disks, History, Nics, Summary } from './cards'
import { EditDialog } from './edit'
import { Charts } from './metrics'
import { Consoles, CrashDumps, Guest, Tpms } from './parts'

export function VMPage({ id }: { id: string }) {
  const vm = useVM(id)
  useFresh(id)
  useTitle(vm.data?.displayName || id)
  const missing = vm.error instanceof Refusal && vm.error.problem.status === 404
  return (
    <div className="page">
      <p className="back">
        <Link href="/vms">
          <ArrowLeft size={15} aria-hidden />
          Fleet
        </Link>
      </p>
      {vm.error &&
        (missing ? (
          <div className="empty-state">
            <h1>There is no VM {id}</h1>
            <p>It may have been deleted, or you may not see it.</p>
          </div>
        ) : (
          <ProblemNote problem={problemOf(vm.error)} retry={() => void vm.refetch()} />
        ))}
      {vm.data && !missing ? (
        <Known vm={vm.data} stale={vm.isError} refresh={() => void vm.refetch()} busy={vm.isFetching} />
      ) : (
        vm.isPending && (
          <>
            <h1 className="vm-name">{id}</h1>
            <Loading lines={10} />
          </>
        )
      )}
    </div>
  )
}

/** Reads the VM again when an event tells that it has changed. */
function useFresh(id: string) {
  const fleet = useFleet()
  const { refetch } = useVM(id)
  useEffect(
    () =>
      fleet.onChanges(ids => {
        if (ids.has(id) && fleet.snapshot().connection === 'live') void refetch()
      }),
    [fleet, id, refetch],
  )
}

function Known({ vm, stale, refresh, busy }: { vm: VM; stale: boolean; refresh(): void; busy: boolean }) {
  const [editing, setEditing] = useState(false)
  const { data: backends = [] } = useBackends()
  const backend = backends.find(b => b.id === vm.backend)
  const reads = (what: string) => backend?.capabilities?.resources.includes(what) ?? false
  return (
    <>
      <header className="vm-head">
        <div className="vm-title">
          <h1 className="vm-name">{vm.displayName || <em>unnamed</em>}</h1>
          <StateMark state={vm.state ?? 'UNKNOWN'} baseState={vm.baseState} />
          {stale && <span className="hint">as it was last seen</span>}
        </div>
        <p className="vm-id">
          <code>{vm.id}</code>
          <CopyButton text={vm.id} label="Copy the id" />
          <span className="hint">{backend?.displayName ?? vm.backend}</span>
        </p>
        {vm.description && <p className="vm-about">{vm.description}</p>}
        <ActionBar vm={vm} edit={() => setEditing(true)} refresh={refresh} busy={busy} />
        <UnderWay vm={vm} />
        {vm.opennebula?.error && (
          <div className="note" data-tone="bad">
            <p className="note-title">OpenNebula says</p>
            <p>{vm.opennebula.error}</p>
          </div>
        )}
      </header>
      <div className="split">
        <div>
          <Summary vm={vm} />
          {reads('vm.guestMetrics') && <Guest id={vm.id} />}
          <BackendCards vm={vm} />
        </div>
        <div>
          {reads('vm.metrics') && <Charts vm={vm} />}
          <Disks disks={vm.disks ?? []} />
          <Nics nics={vm.nics ?? []} />
          {reads('vm.consoles') && <Consoles id={vm.id} />}
          {reads('vm.crashDumps') && <CrashDumps id={vm.id} />}
          {reads('vm.tpms') && <Tpms id={vm.id} />}
          <Operations id={vm.id} />
          <History vm={vm} />
          <Native id={vm.id} />
        </div>
      </div>
      {editing && backend && <EditDialog vm={vm} backend={backend} onClose={() => setEditing(false)} />}
    </>
  )
}

function ActionBar({ vm, edit, refresh, busy }: { vm: VM; edit(): void; refresh(): void; busy: boolean }) {
  const { begin } = useActions()
  const subject = { id: vm.id, name: vm.displayName ?? '' }
  const actions = actionsOf(vm)
  const slots = slotsOf(actions)
  const rest = actions.filter(a => !slots.some(s => s.action === a))
  const entries = (some: readonly Action[]) =>
    some.map(a => ({ key: a.key, label: a.label, danger: a.risk !== 'none', run: () => begin(a, subject) }))
  const others = otherActions(vm)
  return (
    <div className="actions">
      {slots.map(({ label, action }, i) => (
        <Button key={i} tone={i === 0 ? 'main' : 'plain'} disabled={!action} onClick={() => action && begin(action, subject)}>
          {label}
        </Button>
      ))}
      {rest.length > 0 && (
        <Menu
          button={
            <>
              More
              <ChevronDown size={15} aria-hidden />
            </>
          }
          groups={[
            { title: 'Actions', entries: entries(rest.filter(a => a.risk === 'none')) },
            { title: 'Dangerous', entries: entries(rest.filter(a => a.risk !== 'none')) },
          ]}
        />
      )}
      <Button onClick={edit}>
        <Pencil size={15} aria-hidden />
        Edit
      </Button>
      {actions.length > 0 && <CurlMenu actions={actions} id={vm.id} />}
      <button
        type="button"
        className="icon-button"
        aria-label="Read again"
        title="Read again"
        onClick={refresh}
        data-busy={busy || undefined}
      >
        <RefreshCw size={16} />
      </button>
      {actions.length === 0 && <span className="hint">It allows no action now.</span>}
      {others.length > 0 && (
        <span className="hint others" title={others.join(', ')}>
          The backend also has {others.length} that this gateway does not offer.
        </span>
      )}
    </div>
  )
}

function CurlMenu({ actions, id }: { actions: readonly Action[]; id: string }) {
  const [copied, setCopied] = useState(false)
  useEffect(() => {
    if (!copied) return
    const timer = setTimeout(() => setCopied(false), 2000)
    return () => clearTimeout(timer)
  }, [copied])
  const entries = actions.map(a => ({
    key: a.key,
    label: a.label.replace('…', ''),
    run: () => void navigator.clipboard.writeText(curl(callOf(a, id, sample(a)))).then(() => setCopied(true)),
  }))
  return (
    <Menu
      button={
        <>
          <Terminal size={15} aria-hidden />
          {copied ? 'Copied' : 'curl'}
        </>
      }
      label="Copy an action as a curl command"
      groups={[{ title: 'Copy as a curl command', entries }]}
    />
  )
}

/** Stands for what a form would say, so that the command shows where it goes. */
const sample = (action: Action) =>
  Object.fromEntries(action.fields.filter(f => !action.optional.includes(f)).map(f => [f, f === 'coldMode' ? 'SAVE' : `<${f}>`]))

function UnderWay({ vm }: { vm: VM }) {
  const list = vm.currentOperations ?? []
  if (list.length === 0) return null
  return (
    <p className="hint" role="status">
      Under way: {list.map(o => (o.action ? words(o.action) : o.raw)).join(', ')}
    </p>
  )
}

function Operations({ id }: { id: string }) {
  const { operations } = useFleetState()
  const own = operations.filter(o => o.vm === id)
  return (
    <Card title="Operations">
      {own.length === 0 ? (
        <p className="empty">You have done nothing with it through this gateway lately.</p>
      ) : (
        <OperationTable operations={own} withoutVM />
      )}
    </Card>
  )
}

/** The backend's whole record, under the backend's own names. */
function Native({ id }: { id: string }) {
  const [open, setOpen] = useState(false)
  const native = useQuery({
    queryKey: ['vm', id, 'native'],
    enabled: open,
    queryFn: async ({ signal }) => {
      const vm = await body(api.GET('/vms/{vm}', { params: { path: { vm: id }, query: { view: 'NATIVE' } }, signal }))
      return { text: JSON.stringify(vm.native, null, 2), at: Date.now() }
    },
  })
  const now = useNow()
  return (
    <Card
      title="The backend’s record"
      aside={
        open && native.data ? (
          <span className="hint" title={time(native.data.at)}>
            read {ago(native.data.at, now)}
          </span>
        ) : (
          <Button small onClick={() => setOpen(true)} disabled={open}>
            Show
          </Button>
        )
      }
    >
      {open &&
        (native.error ? (
          <ProblemNote problem={problemOf(native.error)} retry={() => void native.refetch()} />
        ) : native.data ? (
          <Code label="the record as JSON" text={native.data.text} />
        ) : (
          <Loading />
        ))}
    </Card>
  )
}
