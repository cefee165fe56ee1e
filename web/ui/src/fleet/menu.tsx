// The menu of one row.
import * as Ariakit from '@ariakit/react'
import { useEffect, useState } from 'react'
import { useLocation } from 'wouter'

import { type Action, actionsOf } from '../actions/catalog'
import { useActions } from '../actions/context'
import { api, body, type Problem, problemOf } from '../api/client'
import type { Row } from './rows'

/** What a VM allows is read when somebody asks: a list of 100,000 has no room for it. */
export function RowMenu({ row, button, close }: { row: Row; button: HTMLElement; close(): void }) {
  const [actions, setActions] = useState<readonly Action[]>()
  const [problem, setProblem] = useState<Problem>()
  const { begin } = useActions()
  const [, go] = useLocation()
  const store = Ariakit.useMenuStore({ open: true, placement: 'bottom-end', setOpen: open => open || close() })
  useEffect(() => {
    store.setAnchorElement(button)
    store.setDisclosureElement(button)
  }, [store, button])
  useEffect(() => {
    const stop = new AbortController()
    body(
      api.GET('/vms/{vm}', {
        params: { path: { vm: row.id }, query: { view: 'BASIC', fields: 'id,allowedActions' } },
        signal: stop.signal,
      }),
    )
      .then(vm => setActions(actionsOf(vm)))
      .catch((thrown: unknown) => stop.signal.aborted || setProblem(problemOf(thrown)))
    return () => stop.abort()
  }, [row.id])
  const run = (action: Action) => {
    button.focus() // so that a window gives the focus back to it
    begin(action, row)
  }
  const items = (some: readonly Action[]) =>
    some.map(a => (
      <Ariakit.MenuItem key={a.key} className="menu-item" data-danger={a.risk !== 'none' || undefined} onClick={() => run(a)}>
        {a.label}
      </Ariakit.MenuItem>
    ))
  return (
    <Ariakit.Menu store={store} className="menu" portal gutter={4} aria-label={`Actions of ${row.name || row.id}`}>
      <Ariakit.MenuItem className="menu-item" onClick={() => go(`/vms/${row.id}`)}>
        Open
      </Ariakit.MenuItem>
      {problem && <p className="menu-note">{problem.detail ?? problem.title}</p>}
      {!actions && !problem && <p className="menu-note">Asking what it allows…</p>}
      {actions?.length === 0 && <p className="menu-note">It allows nothing now.</p>}
      {actions && items(actions.filter(a => a.risk === 'none'))}
      {actions?.some(a => a.risk !== 'none') && <Ariakit.MenuSeparator className="menu-line" />}
      {actions && items(actions.filter(a => a.risk !== 'none'))}
    </Ariakit.Menu>
  )
}
