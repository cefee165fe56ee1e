// The fleet: every VM of every backend where one is logged in.
import type { RowSelectionState } from '@tanstack/react-table'
import { AlertTriangle, Filter as FilterIcon, Search as SearchIcon, X } from 'lucide-react'
import { type FormEvent, useCallback, useDeferredValue, useEffect, useMemo, useState } from 'react'

import type { State } from '../api/client'
import { catalog } from '../actions/catalog'
import { useActions } from '../actions/context'
import { useBackends } from '../session/session'
import { count, words } from '../ui/format'
import { Button, CopyButton, Menu, ProblemNote, useTitle } from '../ui/parts'
import { inOrder, StateMark } from '../ui/state'
import { useFleet, useFleetState, useMatches, useRows } from './hooks'
import { apiFilter, type Search, useSearch } from './search'
import { Table } from './table'
import type { Column, Wanted } from './view'

export function FleetPage() {
  useTitle('Fleet')
  const [search, change] = useSearch()
  const matches = useMatches(search.filter)
  const text = useDeferredValue(search.text)
  const wanted = useMemo(
    (): Wanted => ({
      text: text.trim().toLowerCase(),
      states: search.states,
      backends: search.backends,
      matches: search.filter ? (matches.filter === search.filter ? (matches.ids ?? new Set()) : new Set()) : undefined,
      sort: search.sort,
      descending: search.descending,
    }),
    [text, search, matches],
  )
  const rows = useRows(wanted)
  const state = useFleetState()
  const [selected, setSelected] = useState<RowSelectionState>({})
  const matching = search.filter !== '' && !matches.ids && !matches.problem

  return (
    <div className="fleet">
      <div className="fleet-head">
        <h1>Fleet</h1>
        <span className="hint number" role="status">
          {rows.length === state.rows.size ? `${count(rows.length)} VMs` : `${count(rows.length)} of ${count(state.rows.size)} VMs`}
          {state.loading && ' · reading…'}
          {matching && ' · filtering…'}
        </span>
        <Trouble />
        <Order search={search} change={change} />
      </div>
      <Controls search={search} change={change} />
      {matches.problem && search.filter && <ProblemNote problem={matches.problem} />}
      {state.error && <Unread />}
      <SelectionBar selected={selected} setSelected={setSelected} />
      <Table
        rows={rows}
        search={search}
        change={change}
        selected={selected}
        setSelected={setSelected}
        empty={
          state.loading || matching ? undefined : (
            <Empty filtered={state.rows.size > 0} reset={() => change({ text: '', states: [], backends: [], filter: '' })} />
          )
        }
      />
    </div>
  )
}

function Unread() {
  const fleet = useFleet()
  const { error } = useFleetState()
  return error ? <ProblemNote problem={error} retry={() => fleet.reload()} /> : null
}

function Empty({ filtered, reset }: { filtered: boolean; reset(): void }) {
  const { unreachable, error } = useFleetState()
  if (!filtered && (error ?? unreachable.length > 0))
    return (
      <div className="empty-state">
        <p>No VM could be read.</p>
      </div>
    )
  if (!filtered)
    return (
      <div className="empty-state">
        <p>There are no VMs here that you may see.</p>
      </div>
    )
  return (
    <div className="empty-state">
      <p>No VM fits.</p>
      <Button onClick={reset}>Show all</Button>
    </div>
  )
}

/** What is missing from the table is said, not hidden. */
function Trouble() {
  const fleet = useFleet()
  const { unreachable, undecodable, unnamed } = useFleetState()
  const unreadable = undecodable.length + unnamed
  if (unreachable.length + unreadable === 0) return null
  const parts = [
    unreachable.length > 0 && `${unreachable.map(u => u.backend).join(', ')} unreachable`,
    unreadable > 0 && `${count(unreadable)} ${unreadable === 1 ? 'VM' : 'VMs'} unreadable`,
  ].filter(Boolean)
  return (
    <details className="trouble">
      <summary>
        <AlertTriangle size={15} aria-hidden />
        {parts.join(' · ')}
      </summary>
      <div className="trouble-body">
        {unreachable.map(u => (
          <div key={u.backend}>
            <p>
              <strong>{u.backend}</strong>: what is shown of it may be old.
            </p>
            <ProblemNote problem={u.problem} retry={() => fleet.reload([u.backend])} />
          </div>
        ))}
        {undecodable.length > 0 && <p>These VMs are there, but what the backend says of them cannot be read:</p>}
        <ul>
          {undecodable.map((u, i) => (
            <li key={u.id ?? i}>
              <code>{u.id ?? 'without an id'}</code> {u.problem.detail}
            </li>
          ))}
        </ul>
        {unnamed > 0 && <p>And {count(unnamed)} more.</p>}
      </div>
    </details>
  )
}

type Change = (part: Partial<Search>, keepHistory?: boolean) => void

function Controls({ search, change }: { search: Search; change: Change }) {
  const { data: backends = [] } = useBackends()
  const { rows, version } = useFleetState()
  const present = useMemo(() => {
    const counts = new Map<State, number>()
    for (const row of rows.values()) counts.set(row.state, (counts.get(row.state) ?? 0) + 1)
    return counts
    // version stands for the contents of rows
  }, [rows, version])
  const states = inOrder([...present.keys(), ...search.states])
  const toggle = <T,>(list: readonly T[], item: T) => (list.includes(item) ? list.filter(x => x !== item) : [...list, item])
  return (
    <div className="controls">
      <div className="search">
        <SearchIcon size={16} aria-hidden />
        <input
          id="fleet-search"
          type="search"
          aria-label="Search by name, id, host or owner"
          placeholder="Search name, id, host, owner"
          value={search.text}
          onChange={e => change({ text: e.target.value })}
          onKeyDown={e => e.key === 'Escape' && change({ text: '' })}
        />
        <kbd aria-hidden>/</kbd>
      </div>
      <FilterField key={search.filter} search={search} change={change} />
      <div className="facets">
        <div className="chips" role="group" aria-label="States" hidden={states.length === 0}>
          {states.map(s => (
            <button
              key={s}
              type="button"
              className="chip"
              aria-pressed={search.states.includes(s)}
              onClick={() => change({ states: toggle(search.states, s) }, false)}
            >
              <StateMark state={s} />
              <span className="number">{count(present.get(s) ?? 0)}</span>
            </button>
          ))}
        </div>
        {backends.length > 1 && (
          <div className="chips" role="group" aria-label="Backends">
            {backends
              .filter(b => b.loggedIn)
              .map(b => (
                <button
                  key={b.id}
                  type="button"
                  className="chip"
                  aria-pressed={search.backends.includes(b.id)}
                  onClick={() => change({ backends: toggle(search.backends, b.id) }, false)}
                >
                  {b.id}
                </button>
              ))}
          </div>
        )}
      </div>
    </div>
  )
}

const orders: readonly (readonly [value: string, label: string])[] = [
  ['name', 'Name'],
  ['state', 'State'],
  ['backend', 'Backend'],
  ['host', 'Host'],
  ['-memory', 'Most memory'],
  ['-cpu', 'Most processors'],
  ['age', 'Newest'],
  ['-age', 'Oldest'],
]

/** Where the table has no headings to press. */
function Order({ search, change }: { search: Search; change: Change }) {
  const value = (search.descending ? '-' : '') + search.sort
  return (
    <select
      className="order"
      aria-label="Order"
      value={value}
      onChange={e => change({ sort: e.target.value.replace('-', '') as Column, descending: e.target.value.startsWith('-') })}
    >
      {orders.map(([key, label]) => (
        <option key={key} value={key}>
          {label}
        </option>
      ))}
      {!orders.some(([key]) => key === value) && <option value={value}>Other</option>}
    </select>
  )
}

function FilterField({ search, change }: { search: Search; change: Change }) {
  const [text, setText] = useState(search.filter)
  const submit = (event: FormEvent) => {
    event.preventDefault()
    change({ filter: text.trim() }, false)
  }
  const whole = apiFilter(search)
  return (
    <form className="filter" onSubmit={submit}>
      <FilterIcon size={16} aria-hidden />
      <input
        aria-label="Filter, in the API’s language"
        placeholder="Filter: cpu.vcpus>2 AND annotations.team=web"
        value={text}
        maxLength={4096}
        onChange={e => setText(e.target.value)}
        spellCheck={false}
        autoCapitalize="none"
      />
      {text !== search.filter && (
        <Button type="submit" small tone="main">
          Apply
        </Button>
      )}
      {search.filter && text === search.filter && (
        <button type="button" className="icon-button" aria-label="Remove the filter" onClick={() => change({ filter: '' }, false)}>
          <X size={15} />
        </button>
      )}
      {whole && <CopyButton text={whole} label="Copy what is shown as a filter of the API" />}
    </form>
  )
}

const mostAtOnce = 500

function SelectionBar({ selected, setSelected }: { selected: RowSelectionState; setSelected(s: RowSelectionState): void }) {
  const { rows, version } = useFleetState()
  const { beginBulk } = useActions()
  const { data: backends = [] } = useBackends()
  const clear = useCallback(() => setSelected({}), [setSelected])
  useEffect(() => {
    const press = (e: KeyboardEvent) => e.key === 'Escape' && !e.defaultPrevented && clear()
    document.addEventListener('keydown', press)
    return () => document.removeEventListener('keydown', press)
  }, [clear])
  const subjects = useMemo(
    () => Object.keys(selected).flatMap(id => rows.get(id) ?? []),
    // version stands for the contents of rows
    [selected, rows, version],
  )
  if (subjects.length === 0) return null
  const kinds = backends.filter(b => subjects.some(s => s.backend === b.id))
  const can = (verb: string) => verb === 'delete' || kinds.some(b => b.capabilities?.verbs.includes(verb))
  const entries = catalog
    .filter(a => a.bulk && can(a.verb))
    .map(action => ({
      key: action.key,
      label: action.label,
      danger: action.risk !== 'none',
      run: () =>
        beginBulk(
          action,
          subjects.map(({ id, name }) => ({ id, name })),
        ),
    }))
  return (
    <div className="selection" role="region" aria-label="Selection">
      <strong className="number">{count(subjects.length)} selected</strong>
      {subjects.length > mostAtOnce ? (
        <span className="hint">At most {count(mostAtOnce)} at once: choose fewer to do something with them.</span>
      ) : (
        <Menu
          button="Do with all of them…"
          groups={[
            { title: '', entries: entries.filter(e => !e.danger) },
            { title: 'Dangerous', entries: entries.filter(e => e.danger) },
          ]}
        />
      )}
      <Button tone="bare" onClick={clear}>
        Clear
      </Button>
      <span className="hint">{[...new Set(subjects.map(s => words(s.state)))].slice(0, 4).join(', ')}</span>
    </div>
  )
}
