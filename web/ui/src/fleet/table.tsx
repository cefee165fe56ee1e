// The table itself. Only the rows in sight are in the page, however many there are.
import { useVirtualizer } from '@tanstack/react-virtual'
import { ArrowDown, ArrowUp, MoreHorizontal } from 'lucide-react'
import { type KeyboardEvent, memo, type ReactNode, useCallback, useEffect, useRef, useState } from 'react'
import { Link, useLocation } from 'wouter'

import * as Ariakit from '@ariakit/react'
import { api, body, type Problem, problemOf } from '../api/client'
import { type Action, actionsOf } from '../actions/catalog'
import { useActions } from '../actions/context'
import { age, bytes, decimal, time, useNow } from '../ui/format'
import { StateMark } from '../ui/state'
import type { Row } from './rows'
import type { Search } from './search'
import type { Column } from './view'

const columns: readonly { key: Column; label: string; className?: string }[] = [
  { key: 'state', label: 'State' },
  { key: 'name', label: 'Name' },
  { key: 'backend', label: 'Backend' },
  { key: 'host', label: 'Host' },
  { key: 'cpu', label: 'CPU', className: 'number' },
  { key: 'memory', label: 'Memory', className: 'number' },
  { key: 'owner', label: 'Owner' },
  { key: 'age', label: 'Age', className: 'number' },
]

const narrow = window.matchMedia('(max-width: 720px)')

function useRowHeight() {
  const [height, setHeight] = useState(narrow.matches ? 60 : 36)
  useEffect(() => {
    const change = () => setHeight(narrow.matches ? 60 : 36)
    narrow.addEventListener('change', change)
    return () => narrow.removeEventListener('change', change)
  }, [])
  return height
}

interface Props {
  rows: readonly Row[]
  search: Search
  change(part: Partial<Search>, keepHistory?: boolean): void
  selected: ReadonlySet<string>
  setSelected(change: (ids: ReadonlySet<string>) => ReadonlySet<string>): void
  empty: ReactNode // undefined while more may come
}

export function Table({ rows, search, change, selected, setSelected, empty }: Props) {
  const scroll = useRef<HTMLDivElement>(null)
  const height = useRowHeight()
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => scroll.current, estimateSize: () => height, overscan: 12 })
  useEffect(() => virtual.measure(), [virtual, height])
  useScrollMemory(scroll, rows.length)
  const last = useRef(-1)

  const toggle = useCallback(
    (index: number, range: boolean) => {
      const from = range && last.current >= 0 ? last.current : index
      last.current = index
      setSelected(ids => {
        const next = new Set(ids)
        const on = !ids.has(rows[index]!.id)
        for (let i = Math.min(from, index); i <= Math.max(from, index); i++) {
          const id = rows[i]?.id
          if (id === undefined) continue
          if (on) next.add(id)
          else next.delete(id)
        }
        return next
      })
    },
    [rows, setSelected],
  )
  // Rows are not drawn again because another was added above: what they call stands still.
  const current = useRef(toggle)
  current.current = toggle
  const stable = useCallback((index: number, range: boolean) => current.current(index, range), [])

  const all = rows.length > 0 && selected.size >= rows.length && rows.every(r => selected.has(r.id))
  const move = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15 }[event.key]
    const at = (event.target as HTMLElement).closest<HTMLElement>('[data-index]')?.dataset['index']
    if (!step || at === undefined || (event.target as HTMLElement).tagName !== 'A') return
    event.preventDefault()
    const to = Math.min(Math.max(Number(at) + step, 0), rows.length - 1)
    virtual.scrollToIndex(to)
    requestAnimationFrame(() => scroll.current?.querySelector<HTMLElement>(`[data-index="${to}"] a`)?.focus())
  }
  return (
    <div className="table">
      <div className="contents" role="table" aria-label="VMs" aria-rowcount={rows.length + 1}>
        <div className="table-head" role="rowgroup">
          <div className="row" role="row" aria-rowindex={1}>
            <div role="columnheader" className="cell-check">
              <input
                type="checkbox"
                aria-label="Select all that are shown"
                checked={all}
                onChange={() => setSelected(() => new Set(all ? [] : rows.map(r => r.id)))}
              />
            </div>
            {columns.map(c => (
              <Heading key={c.key} column={c} search={search} change={change} />
            ))}
            <div role="columnheader" className="cell-more">
              <span className="unseen">Actions</span>
            </div>
          </div>
        </div>
        <div className="table-body" ref={scroll} role="rowgroup" onKeyDown={move} hidden={rows.length === 0}>
          <div className="table-space" style={{ blockSize: virtual.getTotalSize() }}>
            {virtual.getVirtualItems().map(item => {
              const row = rows[item.index]
              return (
                row && (
                  <Line
                    key={row.id}
                    row={row}
                    index={item.index}
                    top={item.start}
                    height={height}
                    checked={selected.has(row.id)}
                    toggle={stable}
                  />
                )
              )
            })}
          </div>
        </div>
      </div>
      {rows.length === 0 && (empty ?? <Skeleton height={height} />)}
    </div>
  )
}

function Heading({
  column: { key, label, className },
  search,
  change,
}: {
  column: (typeof columns)[number]
  search: Search
  change: Props['change']
}) {
  const sorted = search.sort === key
  return (
    <div
      role="columnheader"
      className={`cell-${key} ${className ?? ''}`}
      aria-sort={sorted ? (search.descending ? 'descending' : 'ascending') : 'none'}
    >
      <button type="button" onClick={() => change({ sort: key, descending: sorted && !search.descending })}>
        {label}
        {sorted && (search.descending ? <ArrowDown size={13} aria-hidden /> : <ArrowUp size={13} aria-hidden />)}
      </button>
    </div>
  )
}

/** Coming back with the back button leads to the rows that were seen. */
const seen = new Map<string, number>()

function useScrollMemory(scroll: React.RefObject<HTMLDivElement | null>, rows: number) {
  const key = location.search
  const restored = useRef<string>(undefined)
  useEffect(() => {
    if (rows > 0 && scroll.current && restored.current !== key) {
      if (restored.current === undefined) scroll.current.scrollTop = seen.get(key) ?? 0
      restored.current = key
    }
  }, [key, rows, scroll])
  useEffect(() => {
    const element = scroll.current
    const keep = () => element && void seen.set(location.search, element.scrollTop)
    element?.addEventListener('scroll', keep, { passive: true })
    return () => element?.removeEventListener('scroll', keep)
  }, [scroll])
}

interface LineProps {
  row: Row
  index: number
  top: number
  height: number
  checked: boolean
  toggle(index: number, range: boolean): void
}

const Line = memo(function Line({ row, index, top, height, checked, toggle }: LineProps) {
  const name = row.name || 'unnamed'
  return (
    <div
      className="row"
      role="row"
      aria-rowindex={index + 2}
      data-index={index}
      data-checked={checked || undefined}
      style={{ transform: `translateY(${top}px)`, blockSize: height }}
    >
      <div role="cell" className="cell-check">
        <input
          type="checkbox"
          aria-label={`Select ${name}`}
          checked={checked}
          onChange={() => undefined}
          onClick={e => toggle(index, e.shiftKey)}
        />
      </div>
      <div role="cell" className="cell-state">
        <StateMark state={row.state} baseState={row.baseState} />
      </div>
      <div role="cell" className="cell-name">
        <Link href={`/vms/${row.id}`} title={row.name || row.id}>
          {row.name || <em>{row.id}</em>}
        </Link>
      </div>
      <div role="cell" className="cell-backend">
        {row.backend}
      </div>
      <div role="cell" className="cell-host" title={row.host} data-backend={row.backend}>
        {row.host}
      </div>
      <div role="cell" className="cell-cpu number">
        {row.vcpus ?? (row.cpuShare === undefined ? '' : <span title="Share of a processor">{decimal(row.cpuShare)}×</span>)}
      </div>
      <div role="cell" className="cell-memory number">
        {row.memoryBytes === undefined ? '' : bytes(row.memoryBytes)}
      </div>
      <div role="cell" className="cell-owner" title={row.owner}>
        {row.owner}
      </div>
      <div role="cell" className="cell-age number" title={time(row.createTime)}>
        <Age since={row.createTime} />
      </div>
      <div role="cell" className="cell-more">
        <RowMenu row={row} />
      </div>
    </div>
  )
})

const Age = ({ since }: { since: number | undefined }) => age(since, useNow())

/** What a VM allows is read when somebody asks: a list of 100,000 has no room for it. */
function RowMenu({ row }: { row: Row }) {
  const [open, setOpen] = useState(false)
  if (open) return <OpenMenu row={row} close={() => setOpen(false)} />
  return (
    <button
      type="button"
      className="icon-button"
      aria-label={`Actions of ${row.name || row.id}`}
      aria-haspopup="menu"
      onClick={() => setOpen(true)}
    >
      <MoreHorizontal size={16} />
    </button>
  )
}

function OpenMenu({ row, close }: { row: Row; close(): void }) {
  const [actions, setActions] = useState<readonly Action[]>()
  const [problem, setProblem] = useState<Problem>()
  const { begin } = useActions()
  const [, go] = useLocation()
  const store = Ariakit.useMenuStore({ defaultOpen: true, placement: 'bottom-end', setOpen: open => open || close() })
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
  const items = (some: readonly Action[]) =>
    some.map(a => (
      <Ariakit.MenuItem key={a.key} className="menu-item" data-danger={a.risk !== 'none' || undefined} onClick={() => begin(a, row)}>
        {a.label}
      </Ariakit.MenuItem>
    ))
  return (
    <>
      <Ariakit.MenuButton store={store} className="icon-button" aria-label={`Actions of ${row.name || row.id}`}>
        <MoreHorizontal size={16} />
      </Ariakit.MenuButton>
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
    </>
  )
}

const Skeleton = ({ height }: { height: number }) => (
  <div className="table-skeleton" role="status" aria-label="Loading">
    {Array.from({ length: 14 }, (_, i) => (
      <div key={i} className="row" style={{ blockSize: height }}>
        <span />
        <span />
        <span />
      </div>
    ))}
  </div>
)
