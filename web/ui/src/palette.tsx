// Ctrl-K: find a VM, go to a page, or do something with the VM that is shown.
import * as Ariakit from '@ariakit/react'
import { useQueryClient } from '@tanstack/react-query'
import { useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { useLocation } from 'wouter'

import { actionsOf } from './actions/catalog'
import { useActions } from './actions/context'
import type { VM } from './api/client'
import { useFleetState } from './fleet/hooks'
import { bestOf } from './fleet/view'
import { StateMark } from './ui/state'

interface Entry {
  key: string
  label: React.ReactNode
  aside: React.ReactNode
  run(): void
}

export function Palette({ open, setOpen }: { open: boolean; setOpen(open: boolean): void }) {
  // What was chosen takes the focus, such as a window; else it goes back to where it was.
  const chosen = useRef(false)
  useEffect(() => {
    if (open) chosen.current = false
  }, [open])
  const choose = useCallback(() => {
    chosen.current = true
    setOpen(false)
  }, [setOpen])
  return (
    <Ariakit.Dialog
      open={open}
      onClose={() => setOpen(false)}
      autoFocusOnHide={() => !chosen.current}
      unmountOnHide
      backdrop={<div className="backdrop" />}
      className="palette"
      aria-label="Find or do"
    >
      <Content close={choose} />
    </Ariakit.Dialog>
  )
}

function Content({ close }: { close(): void }) {
  const [value, setValue] = useState('')
  const groups = useEntries(value.trim().toLowerCase(), close) // not deferred: Enter takes what is shown
  const found = groups.some(g => g.entries.length > 0)
  return (
    <Ariakit.ComboboxProvider open focusLoop includesBaseElement={false} setValue={setValue}>
      <Ariakit.Combobox className="palette-input" autoSelect autoFocus placeholder="A VM, a page, an action…" aria-label="Find or do" />
      <Ariakit.ComboboxList className="palette-list" alwaysVisible>
        {groups
          .filter(g => g.entries.length > 0)
          .map(group => (
            <Ariakit.ComboboxGroup key={group.title}>
              <Ariakit.ComboboxGroupLabel className="menu-label">{group.title}</Ariakit.ComboboxGroupLabel>
              {group.entries.map(entry => (
                <Ariakit.ComboboxItem
                  key={entry.key}
                  value={entry.key}
                  setValueOnClick={false}
                  hideOnClick={false}
                  className="menu-item"
                  onClick={() => (close(), entry.run())}
                >
                  <span className="palette-label">{entry.label}</span>
                  {entry.aside}
                </Ariakit.ComboboxItem>
              ))}
            </Ariakit.ComboboxGroup>
          ))}
      </Ariakit.ComboboxList>
      {!found && <p className="empty">Nothing fits.</p>}
    </Ariakit.ComboboxProvider>
  )
}

function useEntries(text: string, close: () => void): { title: string; entries: Entry[] }[] {
  const [path, go] = useLocation()
  const { begin } = useActions()
  const client = useQueryClient()
  const { rows, version } = useFleetState()
  return useMemo(() => {
    const has = (label: string) => label.toLowerCase().includes(text)
    const page = (label: string, to: string): Entry => ({ key: to, label, aside: null, run: () => go(to) })
    const reference: Entry = { key: 'docs', label: 'API reference', aside: null, run: () => location.assign('/docs') }
    const pages = [page('Overview', '/'), page('Fleet', '/vms'), page('Operations', '/operations'), reference].filter(p =>
      has(String(p.label)),
    )

    const id = /^\/vms\/(.+)$/.exec(path)?.[1]
    const vm = id ? client.getQueryData<VM>(['vm', id, 'full']) : undefined
    const actions = vm
      ? actionsOf(vm)
          .filter(a => has(a.label))
          .map((action): Entry => ({
            key: action.key,
            label: action.label,
            aside: null,
            run: () => begin(action, { id: vm.id, name: vm.displayName ?? '' }),
          }))
      : []

    const vms = bestOf(rows.values(), text).map((row): Entry => ({
      key: row.id,
      label: row.name || row.id,
      aside: (
        <>
          <span className="hint">{row.backend}</span>
          <span className="palette-state">
            <StateMark state={row.state} />
          </span>
        </>
      ),
      run: () => go(`/vms/${row.id}`),
    }))
    return [
      { title: vm ? `Do with ${vm.displayName ?? vm.id}` : '', entries: actions },
      { title: 'Go to', entries: pages },
      { title: 'VMs', entries: vms },
    ]
    // version stands for the contents of rows
  }, [text, path, go, begin, client, rows, version, close])
}
