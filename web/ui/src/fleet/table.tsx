// The table itself. Only the rows in sight are in the page, however many there are, and the table
// library knows of no others. What a row does is done once for all of them: whatever it carried
// itself, a hook or a handler, would be paid for with each row that comes into sight.
import { type ColumnSizingState, type RowSelectionState, type SortingState, useTable } from '@tanstack/react-table'
import { useVirtualizer, type Virtualizer } from '@tanstack/react-virtual'
import { ArrowDown, ArrowUp, Columns3, MoreHorizontal } from 'lucide-react'
import {
  type KeyboardEvent,
  memo,
  type MouseEvent,
  type PointerEvent,
  type ReactNode,
  type RefObject,
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from 'react'
import { useLocation } from 'wouter'

import * as Ariakit from '@ariakit/react'
import { useNow } from '../ui/format'
import { useMedia } from '../ui/parts'
import { columns, features, type FleetColumn, flexible, tracks, useChoice } from './columns'
import { RowMenu } from './menu'
import type { Row } from './rows'
import type { Search } from './search'
import type { Column } from './view'

interface Props {
  rows: readonly Row[]
  search: Search
  change(part: Partial<Search>, keepHistory?: boolean): void
  selected: RowSelectionState
  setSelected(change: RowSelectionState | ((old: RowSelectionState) => RowSelectionState)): void
  empty: ReactNode // undefined while more may come
}

export function Table({ rows, search, change, selected, setSelected, empty }: Props) {
  const scroll = useRef<HTMLDivElement>(null)
  const height = useMedia('(max-width: 720px)') ? 60 : 36
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => scroll.current, estimateSize: () => height, overscan: 10 })
  useEffect(() => virtual.measure(), [virtual, height])
  useScrollMemory(scroll, virtual, rows.length)

  const items = virtual.getVirtualItems()
  const inSight = useMemo(() => items.flatMap(item => rows[item.index] ?? []), [items, rows])
  const { visibility, sizing, setVisibility, setSizing, reset } = useChoice()
  const small = useMedia('(max-width: 1000px)')
  const columnVisibility = useMemo(() => ({ owner: !small, ...visibility }), [small, visibility])
  const sorting = useMemo(() => [{ id: search.sort, desc: search.descending }], [search.sort, search.descending])
  const table = useTable({
    features,
    columns,
    data: inSight,
    getRowId: row => row.id,
    manualSorting: true,
    enableSortingRemoval: false,
    enableMultiSort: false,
    state: { sorting, rowSelection: selected, columnVisibility, columnSizing: sizing },
    onSortingChange: update => {
      const [next] = typeof update === 'function' ? update(sorting) : update
      if (next) change({ sort: next.id as Column, descending: next.desc })
    },
    onRowSelectionChange: setSelected,
    onColumnVisibilityChange: setVisibility,
    onColumnSizingChange: setSizing,
  })
  const shown = table.getVisibleLeafColumns()
  const now = useNow()
  const [menu, setMenu] = useState<{ row: Row; button: HTMLElement }>()
  const closeMenu = useCallback(() => setMenu(undefined), [])

  const last = useRef(-1)
  const toggle = (index: number, range: boolean) => {
    const from = range && last.current >= 0 ? last.current : index
    last.current = index
    const on = !selected[rows[index]!.id]
    const next = { ...selected }
    for (const { id } of rows.slice(Math.min(from, index), Math.max(from, index) + 1)) {
      if (on) next[id] = true
      else delete next[id]
    }
    setSelected(next)
  }
  const [, go] = useLocation()
  const click = (event: MouseEvent) => {
    const at = (event.target as Element).closest('[data-does], a')
    const index = indexOf(event.target)
    const row = index === undefined ? undefined : rows[index]
    if (!at || !row || index === undefined) return
    if (at instanceof HTMLInputElement) toggle(index, event.shiftKey)
    else if (at instanceof HTMLButtonElement) setMenu(menu?.button === at ? undefined : { row, button: at })
    else if (!(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)) {
      event.preventDefault()
      go(`/vms/${row.id}`)
    }
  }
  const move = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15 }[event.key]
    const at = indexOf(event.target)
    if (!step || at === undefined || !(event.target instanceof HTMLAnchorElement)) return
    event.preventDefault()
    const to = Math.min(Math.max(at + step, 0), rows.length - 1)
    virtual.scrollToIndex(to)
    requestAnimationFrame(() => scroll.current?.querySelector<HTMLElement>(`[data-index="${to}"] a`)?.focus())
  }
  return (
    <div className="table" style={{ ['--columns' as string]: tracks(shown, sizing) }}>
      <div className="contents" role="table" aria-label="VMs" aria-rowcount={rows.length + 1}>
        <Head
          rows={rows}
          columns={table.getAllLeafColumns()}
          shown={shown}
          sorting={sorting}
          selected={selected}
          setSelected={setSelected}
          setVisibility={setVisibility}
          setSizing={setSizing}
          reset={reset}
        />
        <div className="table-body" ref={scroll} role="rowgroup" onKeyDown={move} onClick={click} hidden={rows.length === 0}>
          <div className="table-space" style={{ blockSize: virtual.getTotalSize() }}>
            {table.getRowModel().rows.map((row, i) => {
              const item = items[i]!
              return (
                <Line
                  key={row.id}
                  row={row.original}
                  index={item.index}
                  top={item.start}
                  height={height}
                  checked={row.getIsSelected()}
                  columns={shown}
                  now={now}
                  open={menu?.row.id === row.id}
                />
              )
            })}
          </div>
        </div>
      </div>
      {menu && <RowMenu key={menu.row.id} {...menu} close={closeMenu} />}
      {rows.length === 0 && (empty ?? <Skeleton height={height} />)}
    </div>
  )
}

const indexOf = (target: EventTarget) => {
  const index = (target as Element).closest<HTMLElement>('[data-index]')?.dataset['index']
  return index === undefined ? undefined : Number(index)
}

interface HeadProps extends Pick<Props, 'rows' | 'selected' | 'setSelected'>, Omit<ReturnType<typeof useChoice>, 'visibility' | 'sizing'> {
  columns: readonly FleetColumn[]
  shown: readonly FleetColumn[]
  sorting: SortingState
}

const Head = memo(function Head({ rows, columns, shown, sorting, selected, setSelected, setVisibility, setSizing, reset }: HeadProps) {
  const all = useMemo(
    () => rows.length > 0 && Object.keys(selected).length >= rows.length && rows.every(r => selected[r.id]),
    [rows, selected],
  )
  const flexibleAt = shown.findIndex(c => c.id === flexible)
  return (
    <div className="table-head" role="rowgroup">
      <div className="row" role="row" aria-rowindex={1}>
        <div role="columnheader" className="cell-check">
          <input
            type="checkbox"
            aria-label="Select all that are shown"
            checked={all}
            onChange={() => setSelected(all ? {} : Object.fromEntries(rows.map(r => [r.id, true])))}
          />
        </div>
        {shown.map((column, i) => (
          <Heading
            key={column.id}
            column={column}
            sort={sorting.find(s => s.id === column.id)}
            before={i < flexibleAt}
            setSizing={setSizing}
          />
        ))}
        <div role="columnheader" aria-label="Actions" className="cell-more">
          <ColumnsMenu columns={columns} shown={shown} setVisibility={setVisibility} reset={reset} />
        </div>
      </div>
    </div>
  )
})

/** Which columns are shown. */
function ColumnsMenu({ columns, shown, setVisibility, reset }: Pick<HeadProps, 'columns' | 'shown' | 'setVisibility' | 'reset'>) {
  const store = Ariakit.useMenuStore({
    placement: 'bottom-end',
    values: { shown: shown.map(c => c.id) },
    setValues: ({ shown }) => setVisibility(Object.fromEntries(columns.map(c => [c.id, shown.includes(c.id)]))),
  })
  return (
    <Ariakit.MenuProvider store={store}>
      <Ariakit.MenuButton className="icon-button" aria-label="Columns" title="Columns">
        <Columns3 size={16} />
      </Ariakit.MenuButton>
      <Ariakit.Menu className="menu" gutter={4} portal unmountOnHide aria-label="Columns">
        {columns
          .filter(c => c.getCanHide())
          .map(c => (
            <Ariakit.MenuItemCheckbox key={c.id} className="menu-item" name="shown" value={c.id}>
              <Ariakit.MenuItemCheck />
              {String(c.columnDef.header)}
            </Ariakit.MenuItemCheckbox>
          ))}
        <Ariakit.MenuSeparator className="menu-line" />
        <Ariakit.MenuItem className="menu-item" onClick={reset}>
          As they were at first
        </Ariakit.MenuItem>
      </Ariakit.Menu>
    </Ariakit.MenuProvider>
  )
}

interface HeadingProps {
  column: FleetColumn
  sort: SortingState[number] | undefined
  /** Whether it stands before the one that gives the room: then its far edge is the one that moves. */
  before: boolean
  setSizing: ReturnType<typeof useChoice>['setSizing']
}

function Heading({ column, sort, before, setSizing }: HeadingProps) {
  const { header, meta, minSize = 0, maxSize = 0 } = column.columnDef
  const label = String(header)
  return (
    <div
      role="columnheader"
      aria-label={label}
      className={`cell-${column.id} ${meta?.className ?? ''}`}
      data-column={column.id}
      aria-sort={sort ? (sort.desc ? 'descending' : 'ascending') : 'none'}
    >
      <button type="button" onClick={column.getToggleSortingHandler()}>
        {label}
        {sort && (sort.desc ? <ArrowDown size={13} aria-hidden /> : <ArrowUp size={13} aria-hidden />)}
      </button>
      {column.id !== flexible && <Edge id={column.id} label={label} before={before} min={minSize} max={maxSize} setSizing={setSizing} />}
    </div>
  )
}

interface EdgeProps {
  id: string
  label: string
  before: boolean
  min: number
  max: number
  setSizing: HeadingProps['setSizing']
}

/** The edge of a column that can be moved, by pointer and by keyboard; Enter gives the first width back. */
function Edge({ id, label, before, min, max, setSizing }: EdgeProps) {
  const [width, setWidth] = useState<number>()
  const drag = useRef<{ x: number; width: number }>(undefined)
  const heading = (edge: Element) => edge.closest('[role=columnheader]')!
  const set = (edge: Element, width: number) => {
    const size = Math.round(Math.min(Math.max(width, min), max))
    const now = widths(edge.closest('.row')!)
    setSizing(old => ({ ...now, ...old, [id]: size }))
    setWidth(size)
  }
  const measure = (edge: Element) => heading(edge).getBoundingClientRect().width
  const direction = before ? 1 : -1
  const press = (event: KeyboardEvent) => {
    const steps = { ArrowRight: 16, ArrowLeft: -16 }[event.key]
    if (event.key === 'Enter') setSizing(({ [id]: _, ...others }) => others)
    else if (steps) set(event.currentTarget, measure(event.currentTarget) + steps * direction)
    else return
    event.preventDefault()
  }
  return (
    <div
      className="edge"
      data-before={before || undefined}
      role="separator"
      tabIndex={0}
      aria-orientation="vertical"
      aria-label={`Width of ${label}`}
      aria-valuenow={width ?? min}
      aria-valuemin={min}
      aria-valuemax={max}
      onFocus={e => setWidth(Math.round(measure(e.currentTarget)))}
      onKeyDown={press}
      onPointerDown={(e: PointerEvent) => {
        e.currentTarget.setPointerCapture(e.pointerId)
        drag.current = { x: e.clientX, width: measure(e.currentTarget) }
      }}
      onPointerMove={(e: PointerEvent) => {
        if (drag.current) set(e.currentTarget, drag.current.width + (e.clientX - drag.current.x) * direction)
      }}
      onLostPointerCapture={() => (drag.current = undefined)}
    />
  )
}

/** As wide as they are, so that moving one edge moves no other. */
const widths = (row: Element): ColumnSizingState =>
  Object.fromEntries(
    [...row.querySelectorAll<HTMLElement>('[data-column]')]
      .filter(e => e.dataset['column'] !== flexible)
      .map(e => [e.dataset['column']!, Math.round(e.getBoundingClientRect().width)]),
  )

/** Coming back with the back button leads to the rows that were seen. */
const seen = new Map<string, number>()

function useScrollMemory(scroll: RefObject<HTMLDivElement | null>, virtual: Virtualizer<HTMLDivElement, Element>, rows: number) {
  const key = location.search
  const restored = useRef(false)
  const left = useRef<number>(undefined)
  useEffect(() => {
    if (rows === 0 || restored.current) return
    restored.current = true
    virtual.scrollToOffset(seen.get(key) ?? 0)
  }, [key, rows, virtual])
  // The element is asked only as it goes, before the virtualizer may have heard how it was scrolled last.
  // Otherwise what that knows will do: the element would have to lay out the page.
  useLayoutEffect(() => () => void (left.current = scroll.current?.scrollTop), [scroll])
  useEffect(() => () => void seen.set(key, left.current ?? virtual.scrollOffset ?? 0), [key, virtual])
}

interface LineProps {
  row: Row
  index: number
  top: number
  height: number
  checked: boolean
  columns: readonly FleetColumn[]
  now: number
  open: boolean
}

const Line = memo(function Line({ row, index, top, height, checked, columns, now, open }: LineProps) {
  return (
    <div
      className="row"
      role="row"
      aria-rowindex={index + 2}
      data-index={index}
      data-checked={checked || undefined}
      style={{ insetBlockStart: top, blockSize: height }}
    >
      <div role="cell" className="cell-check">
        <input type="checkbox" data-does="select" aria-label={`Select ${row.name || row.id}`} checked={checked} onChange={ignore} />
      </div>
      {columns.map(({ id, columnDef: { meta } }) => (
        <div
          key={id}
          role="cell"
          className={`cell-${id} ${meta!.className ?? ''}`}
          title={meta!.title?.(row)}
          data-backend={id === 'host' ? row.backend : undefined}
        >
          {meta!.draw(row, now)}
        </div>
      ))}
      <div role="cell" className="cell-more">
        <button
          type="button"
          className="icon-button"
          data-does="menu"
          aria-label={`Actions of ${row.name || row.id}`}
          aria-haspopup="menu"
          aria-expanded={open}
        >
          {more}
        </button>
      </div>
    </div>
  )
})

const more = <MoreHorizontal size={16} />
const ignore = () => undefined // the click is taken by the table

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
