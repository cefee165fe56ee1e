// The actions that are being chosen, and what becomes of those that were begun.
import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useRef, useState } from 'react'

import { api, body, type Operation, type Problem, problemOf } from '../api/client'
import { queries } from '../session/session'
import { useFleet } from '../fleet/hooks'
import { words } from '../ui/format'
import type { Action } from './catalog'
import { type Call, callOf, send } from './call'
import { ActionDialog } from './dialog'
import { BulkDialog, type BulkRun } from './bulk'
import { Toasts } from './toasts'

export interface Subject {
  id: string
  name: string
}

export type Toast =
  | { id: number; kind: 'operation'; subject: string; operation: string; title: string }
  | { id: number; kind: 'done'; title: string }
  | { id: number; kind: 'problem'; title: string; problem: Problem }

export type NewToast = Toast extends infer T ? (T extends Toast ? Omit<T, 'id'> : never) : never

interface Actions {
  /** Carries an action out, or asks first where it needs more to be said. */
  begin(action: Action, subject: Subject): void
  beginBulk(action: Action, subjects: readonly Subject[]): void
  /** Carries a change out, and follows what becomes of it. */
  run(call: Call, title: string, subject: Subject): Promise<Operation | undefined>
  cancel(operation: Operation): Promise<void>
}

const Context = createContext<Actions | null>(null)

export function useActions(): Actions {
  const actions = useContext(Context)
  if (!actions) throw new Error('useActions outside of ActionsProvider')
  return actions
}

const followMs = 20_000

export function ActionsProvider({ children }: { children: ReactNode }) {
  const fleet = useFleet()
  const [chosen, setChosen] = useState<{ action: Action; subject: Subject }>()
  const [bulk, setBulk] = useState<BulkRun>()
  const [toasts, setToasts] = useState<readonly Toast[]>([])
  const next = useRef(0)

  const show = useCallback((toast: NewToast) => setToasts(all => [...all.slice(-4), { ...toast, id: next.current++ } as Toast]), [])
  const hide = useCallback((id: number) => setToasts(all => all.filter(t => t.id !== id)), [])

  const run = useCallback(
    async (call: Call, title: string, subject: Subject) => {
      const answer = await send(call)
      void queries.invalidateQueries({ queryKey: ['vm', subject.id] })
      if ('vm' in answer) {
        fleet.knowVM(answer.vm)
        show({ kind: 'done', title })
        return undefined
      }
      fleet.knowOperation(answer.operation)
      show({ kind: 'operation', subject: subject.id, operation: answer.operation.id, title })
      return answer.operation
    },
    [fleet, show],
  )

  const begin = useCallback(
    (action: Action, subject: Subject) => {
      if (action.fields.length > 0 || action.risk !== 'none') return setChosen({ action, subject })
      const title = titleOf(action, subject)
      run(callOf(action, subject.id), title, subject).catch((thrown: unknown) =>
        show({ kind: 'problem', title, problem: problemOf(thrown) }),
      )
    },
    [run, show],
  )

  const beginBulk = useCallback((action: Action, subjects: readonly Subject[]) => setBulk({ action, subjects }), [])

  const cancel = useCallback(
    async (operation: Operation) => {
      try {
        fleet.knowOperation(await body(api.POST('/operations/{operation}:cancel', { params: { path: { operation: operation.id } } })))
      } catch (thrown) {
        show({ kind: 'problem', title: `${words(operation.verb)} was not cancelled`, problem: problemOf(thrown) })
      }
    },
    [fleet, show],
  )

  // What ended has changed the VM: whoever looks at it reads it again.
  useEffect(
    () =>
      fleet.onOperation(o => {
        if (o.vm && o.state !== 'RUNNING') void queries.invalidateQueries({ queryKey: ['vm', o.vm] })
      }),
    [fleet],
  )

  const actions = useMemo(() => ({ begin, beginBulk, run, cancel }), [begin, beginBulk, run, cancel])
  return (
    <Context value={actions}>
      {children}
      {chosen && <ActionDialog key={chosen.action.key + chosen.subject.id} {...chosen} onClose={() => setChosen(undefined)} />}
      {bulk && <BulkDialog run={bulk} onClose={() => setBulk(undefined)} />}
      <Toasts toasts={toasts} hide={hide} />
    </Context>
  )
}

export const titleOf = (action: Action, subject: Subject) => `${action.label.replace('…', '')}: ${subject.name || subject.id}`

/** Asks how an operation goes on where no event tells: the stream may be gone. */
export function useFollowed(operation: Operation | undefined) {
  const fleet = useFleet()
  const id = operation?.state === 'RUNNING' ? operation.id : undefined
  useEffect(() => {
    if (!id) return
    const stop = new AbortController()
    const ask = async () => {
      while (!stop.signal.aborted) {
        const live = fleet.snapshot().connection === 'live'
        if (live) await new Promise(resolve => setTimeout(resolve, followMs))
        if (stop.signal.aborted) return
        try {
          const query = live ? {} : { waitSeconds: followMs / 1000 }
          fleet.knowOperation(
            await body(api.GET('/operations/{operation}', { params: { path: { operation: id }, query }, signal: stop.signal })),
          )
        } catch {
          await new Promise(resolve => setTimeout(resolve, followMs / 4))
        }
      }
    }
    void ask()
    return () => stop.abort()
  }, [fleet, id])
}
