// One action for many VMs: each is asked about first, and each has a result of its own.
import { memo, useEffect, useMemo, useRef, useState } from 'react'
import { Link } from 'wouter'

import { type Operation, type Plan, type Problem, problemOf } from '../api/client'
import { useFleet, useFleetState } from '../fleet/hooks'
import { count } from '../ui/format'
import { Button, Dialog, Field } from '../ui/parts'
import { OperationMark } from '../ui/state'
import { callOf, dryRun, send } from './call'
import type { Action } from './catalog'
import { type Subject, useFollowed } from './context'

export interface BulkRun {
  action: Action
  subjects: readonly Subject[]
}

interface Item {
  subject: Subject
  plan?: Plan
  problem?: Problem
  operation?: string
  done?: boolean
}

const atOnce = 4 // each call costs the backend a connection

async function each<T>(items: readonly T[], signal: AbortSignal, work: (item: T, index: number) => Promise<void>) {
  let next = 0
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let i = next++; i < items.length && !signal.aborted; i = next++) await work(items[i]!, i)
    }),
  )
}

export function BulkDialog({ run, onClose }: { run: BulkRun; onClose(): void }) {
  const { action, subjects } = run
  const fleet = useFleet()
  useFleetState() // to be drawn again as operations go on
  const [items, setItems] = useState<readonly Item[]>(() => subjects.map(subject => ({ subject })))
  const [phase, setPhase] = useState<'asking' | 'asked' | 'running' | 'done'>('asking')
  const [typed, setTyped] = useState('')
  const stop = useRef<AbortController>(undefined)

  useEffect(() => {
    const abort = (stop.current = new AbortController())
    const mark = marker(setItems)
    void each(subjects, abort.signal, async (subject, i) => {
      try {
        mark(i, { plan: await dryRun(callOf(action, subject.id)) })
      } catch (thrown) {
        mark(i, { problem: problemOf(thrown) })
      }
    }).then(() => abort.signal.aborted || setPhase('asked'))
    return () => abort.abort()
  }, [action, subjects])

  const possible = useMemo(() => items.filter(i => i.plan?.allowed).length, [items])
  const asked = items.filter(i => i.plan ?? i.problem).length

  const go = async () => {
    setPhase('running')
    const mark = marker(setItems)
    const abort = (stop.current = new AbortController())
    await each(items, abort.signal, async (item, i) => {
      if (!item.plan?.allowed) return
      try {
        const answer = await send(callOf(action, item.subject.id))
        if ('operation' in answer) {
          fleet.knowOperation(answer.operation)
          mark(i, { operation: answer.operation.id, done: true })
        } else mark(i, { done: true })
      } catch (thrown) {
        mark(i, { problem: problemOf(thrown), done: true })
      }
    })
    setPhase('done')
  }
  const sure = action.risk === 'none' || typed === String(possible)
  return (
    <Dialog
      open
      wide
      onClose={onClose}
      closable={phase !== 'running'}
      title={`${action.label}: ${count(subjects.length)} VMs`}
      footer={
        phase === 'done' ? (
          <Button tone="main" onClick={onClose}>
            Close
          </Button>
        ) : (
          <>
            {phase === 'running' ? (
              <Button onClick={() => stop.current?.abort()}>Stop here</Button>
            ) : (
              <Button onClick={onClose}>Cancel</Button>
            )}
            <Button
              tone={action.risk === 'none' ? 'main' : 'danger'}
              disabled={phase !== 'asked' || possible === 0 || !sure}
              onClick={() => void go()}
            >
              {action.label}: {count(possible)} of {count(subjects.length)}
            </Button>
          </>
        )
      }
    >
      {action.about && <p className={action.risk === 'none' ? '' : 'loss'}>{action.about}</p>}
      <p role="status">
        {phase === 'asking' && `Asking the backends: ${count(asked)} of ${count(items.length)}…`}
        {phase === 'asked' && `${count(possible)} of ${count(items.length)} would be allowed. The others are left alone.`}
        {phase === 'running' && 'Under way…'}
        {phase === 'done' && 'All were asked for. What runs on goes on without this window; the operations tell how it ends.'}
      </p>
      <ul className="bulk" tabIndex={0} aria-label="VMs and what becomes of each">
        {items.map(item => (
          <Line key={item.subject.id} item={item} operation={item.operation ? fleet.operation(item.operation) : undefined} />
        ))}
      </ul>
      {action.risk !== 'none' && phase === 'asked' && possible > 0 && (
        <Field label={`To go on, type the number of VMs: ${possible}`}>
          {props => <input {...props} value={typed} onChange={e => setTyped(e.target.value)} inputMode="numeric" autoComplete="off" />}
        </Field>
      )}
    </Dialog>
  )
}

const marker = (setItems: (change: (all: readonly Item[]) => readonly Item[]) => void) => (at: number, part: Partial<Item>) =>
  setItems(all => all.map((item, i) => (i === at ? { ...item, ...part } : item)))

const Line = memo(function Line({ item, operation }: { item: Item; operation: Operation | undefined }) {
  return (
    <li>
      <Link href={`/vms/${item.subject.id}`}>{item.subject.name || item.subject.id}</Link>
      <Result item={item} operation={operation} />
    </li>
  )
})

function Result({ item, operation }: { item: Item; operation: Operation | undefined }) {
  useFollowed(operation)
  if (operation)
    return (
      <span>
        <OperationMark state={operation.state} />
        {operation.error && <span className="field-error"> {operation.error.detail}</span>}
      </span>
    )
  if (item.problem) return <span className="field-error">{item.problem.detail ?? item.problem.title}</span>
  if (item.done) return <span>Done</span>
  if (!item.plan) return <span className="hint">…</span>
  return item.plan.allowed ? (
    <span className="hint">Allowed</span>
  ) : (
    <span className="field-error">{item.plan.reason ?? 'Not allowed'}</span>
  )
}
