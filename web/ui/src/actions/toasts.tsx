// What becomes of what was begun. Successes go by themselves; failures stay until they were seen.
import { X } from 'lucide-react'
import { useEffect, useState } from 'react'
import { Link } from 'wouter'

import { useFleetState } from '../fleet/hooks'
import { duration, useNow } from '../ui/format'
import { Button, ProblemNote } from '../ui/parts'
import { OperationMark } from '../ui/state'
import type { Operation } from '../api/client'
import { type Toast, useActions, useFollowed } from './context'

const staysFor = 6000

export function Toasts({ toasts, hide }: { toasts: readonly Toast[]; hide(id: number): void }) {
  return (
    <section className="toasts" aria-label="Notifications" role="log" aria-live="polite">
      {toasts.map(toast => (
        <Item key={toast.id} toast={toast} hide={() => hide(toast.id)} />
      ))}
    </section>
  )
}

function Item({ toast, hide }: { toast: Toast; hide(): void }) {
  const { operations } = useFleetState()
  const operation = toast.kind === 'operation' ? operations.find(o => o.id === toast.operation) : undefined
  useFollowed(operation)
  const [held, setHeld] = useState(false)
  const over = toast.kind === 'done' || operation?.state === 'SUCCEEDED' || operation?.state === 'CANCELLED'
  useEffect(() => {
    if (!over || held) return
    const timer = setTimeout(hide, staysFor)
    return () => clearTimeout(timer)
  }, [over, held, hide])
  return (
    <article
      className="toast"
      onPointerEnter={() => setHeld(true)}
      onPointerLeave={() => setHeld(false)}
      onFocus={() => setHeld(true)}
      onBlur={() => setHeld(false)}
    >
      <div className="toast-head">
        <span className="toast-title">
          {toast.kind === 'operation' ? <Link href={`/vms/${toast.subject}`}>{toast.title}</Link> : toast.title}
        </span>
        <button type="button" className="icon-button" aria-label="Dismiss" onClick={hide}>
          <X size={15} />
        </button>
      </div>
      {toast.kind === 'done' && <p className="hint">Done.</p>}
      {toast.kind === 'problem' && <ProblemNote problem={toast.problem} />}
      {operation && <Progress operation={operation} />}
    </article>
  )
}

export function Progress({ operation, quiet }: { operation: Operation; quiet?: boolean }) {
  const { cancel } = useActions()
  const [asked, setAsked] = useState(false)
  const now = useNow()
  const running = operation.state === 'RUNNING'
  const begun = Date.parse(operation.createTime)
  const took = (operation.endTime ? Date.parse(operation.endTime) : Math.max(now, begun)) - begun
  return (
    <>
      <div className="progress">
        <OperationMark state={operation.state} />
        {operation.progress !== undefined && running && <span className="number">{Math.round(operation.progress * 100)} %</span>}
        <span className="hint number">{duration(took)}</span>
        {running && operation.cancellable && (
          <Button small disabled={asked} onClick={() => (setAsked(true), void cancel(operation).finally(() => setAsked(false)))}>
            {asked ? 'Cancelling…' : 'Cancel'}
          </Button>
        )}
      </div>
      {running && !quiet && (
        <div
          className="bar"
          role="progressbar"
          aria-label="Progress"
          {...(operation.progress === undefined ? {} : { 'aria-valuenow': Math.round(operation.progress * 100) })}
        >
          <div
            className={operation.progress === undefined ? 'bar-unknown' : 'bar-fill'}
            style={{ inlineSize: operation.progress === undefined ? '35%' : `${operation.progress * 100}%` }}
          />
        </div>
      )}
      {operation.error && <ProblemNote problem={operation.error} />}
    </>
  )
}
