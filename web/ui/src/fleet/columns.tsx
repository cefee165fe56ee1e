// The fleet's columns. What is shown of them, how wide, and what orders the rows is the table
// library's state; which columns a person chose is kept in the browser.
import {
  columnSizingFeature,
  type ColumnSizingState,
  columnVisibilityFeature,
  type ColumnVisibilityState,
  type Column as TableColumn,
  createColumnHelper,
  rowSelectionFeature,
  rowSortingFeature,
  tableFeatures,
} from '@tanstack/react-table'
import { type ReactNode, useEffect, useState } from 'react'

import { age, bytes, decimal, time } from '../ui/format'
import { StateMark } from '../ui/state'
import type { Row } from './rows'
import { type Column, keys } from './view'

interface Meta {
  /** The track of the grid until a person chooses a width. */
  track: string
  className?: string
  title?(row: Row): string
  draw(row: Row, now: number): ReactNode
}

export const features = tableFeatures({
  columnSizingFeature,
  columnVisibilityFeature,
  rowSelectionFeature,
  rowSortingFeature,
  columnMeta: {} as Meta,
})

export type FleetColumn = TableColumn<typeof features, Row>

const { accessor } = createColumnHelper<typeof features, Row>()

/** The one that takes the room that the others leave: it is always there, and has no width of its own. */
export const flexible: Column = 'name'

const column = (id: Column, header: string, minSize: number, meta: Meta) =>
  accessor(keys[id] as (row: Row) => unknown, {
    id,
    header,
    minSize,
    maxSize: 600,
    enableHiding: id !== flexible,
    sortDescFirst: false,
    meta,
  })

export const columns = [
  column('state', 'State', 60, {
    track: 'minmax(60px, 128px)',
    draw: row => <StateMark state={row.state} baseState={row.baseState} />,
  }),
  column('name', 'Name', 140, {
    track: 'minmax(140px, 2.2fr)',
    draw: row => (
      <a href={`/ui/vms/${row.id}`} title={row.name || row.id}>
        {row.name || <em>{row.id}</em>}
      </a>
    ),
  }),
  column('backend', 'Backend', 60, { track: 'minmax(70px, 0.7fr)', draw: row => row.backend }),
  column('host', 'Host', 60, { track: 'minmax(100px, 1.2fr)', title: row => row.host, draw: row => row.host }),
  column('cpu', 'CPU', 44, {
    track: '56px',
    className: 'number',
    draw: row => row.vcpus ?? (row.cpuShare === undefined ? '' : <span title="Share of a processor">{decimal(row.cpuShare)}×</span>),
  }),
  column('memory', 'Memory', 60, {
    track: '84px',
    className: 'number',
    draw: row => (row.memoryBytes === undefined ? '' : bytes(row.memoryBytes)),
  }),
  column('owner', 'Owner', 60, { track: 'minmax(80px, 0.9fr)', title: row => row.owner, draw: row => row.owner }),
  column('age', 'Age', 50, {
    track: '76px',
    className: 'number',
    title: row => time(row.createTime),
    draw: (row, now) => age(row.createTime, now),
  }),
]

/** The tracks of a row's grid: the box to choose it, its columns, its menu. */
export const tracks = (shown: readonly FleetColumn[], sizes: ColumnSizingState) =>
  ['34px', ...shown.map(c => trackOf(c, sizes[c.id])), '40px'].join(' ')

function trackOf({ id, columnDef }: FleetColumn, size: number | undefined) {
  if (size === undefined) return columnDef.meta!.track
  return `minmax(${columnDef.minSize}px, ${id === flexible ? '1fr' : `${size}px`})`
}

interface Choice {
  visibility: ColumnVisibilityState
  sizing: ColumnSizingState
}

const stored = 'columns'
const none: Choice = { visibility: {}, sizing: {} }

function read(): Choice {
  try {
    const { visibility, sizing } = JSON.parse(localStorage.getItem(stored) ?? '{}') as Partial<Choice>
    const only = <T,>(map: Record<string, T> | undefined, type: string) =>
      Object.fromEntries(
        Object.entries(map ?? {}).filter(([id, v]) => id !== flexible && columns.some(c => c.id === id) && typeof v === type),
      )
    return { visibility: only(visibility, 'boolean'), sizing: only(sizing, 'number') }
  } catch {
    return none // without storage, or with what somebody else left there
  }
}

/** What this browser's user chose, and a way to choose anew. */
export function useChoice() {
  const [choice, setChoice] = useState(read)
  useEffect(() => {
    try {
      if (choice === none) localStorage.removeItem(stored)
      else localStorage.setItem(stored, JSON.stringify(choice))
    } catch {
      // Without storage the choice lasts as long as the page.
    }
  }, [choice])
  const [setters] = useState(() => {
    const setterOf =
      <Part extends keyof Choice>(part: Part) =>
      (update: Choice[Part] | ((old: Choice[Part]) => Choice[Part])) =>
        setChoice(all => ({ ...all, [part]: typeof update === 'function' ? update(all[part]) : update }))
    return { setVisibility: setterOf('visibility'), setSizing: setterOf('sizing'), reset: () => setChoice(none) }
  })
  return { ...choice, ...setters }
}
