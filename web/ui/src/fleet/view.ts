// The rows that a person asked to see, in their order. What a batch changed is merged into the order
// that was there: sorting 100,000 rows anew for each event would take the page's breath away.
import type { State } from '../api/client'
import type { Row } from './rows'

export type Column = 'name' | 'state' | 'backend' | 'host' | 'cpu' | 'memory' | 'owner' | 'age'

export interface Wanted {
  text: string
  states: readonly State[]
  backends: readonly string[]
  /** The VMs that the API says fit the filter; undefined: there is no filter. */
  matches: ReadonlySet<string> | undefined
  sort: Column
  descending: boolean
}

export function fits(row: Row, wanted: Wanted): boolean {
  if (wanted.states.length > 0 && !wanted.states.includes(row.state)) return false
  if (wanted.backends.length > 0 && !wanted.backends.includes(row.backend)) return false
  if (wanted.matches && !wanted.matches.has(row.id)) return false
  if (!wanted.text) return true
  return wanted.text.split(/\s+/).every(word => hasWord(row, word))
}

const hasWord = (row: Row, word: string) =>
  row.name.toLowerCase().includes(word) ||
  row.id.includes(word) ||
  row.host.toLowerCase().includes(word) ||
  row.owner.toLowerCase().includes(word)

/** The few rows that fit a text best: those that are called so, then those whose name begins so. */
export function bestOf(rows: Iterable<Row>, text: string, most = 12): Row[] {
  const wanted: Wanted = { text, states: [], backends: [], matches: undefined, sort: 'name', descending: false }
  const ranks: Row[][] = [[], [], []]
  for (const row of rows) {
    if (!fits(row, wanted)) continue
    const name = row.name.toLowerCase()
    const rank = ranks[name === text || row.id === text ? 0 : name.startsWith(text) ? 1 : 2]!
    if (rank.length < most) rank.push(row)
  }
  return ranks.flat().slice(0, most)
}

/** Numbers inside of names count by their value: web-9 stands before web-10. */
export const natural = (text: string) => text.toLowerCase().replace(/\d+/g, digits => digits.padStart(12, '0'))

/** What the rows are ordered by. */
export const keys: Record<Column, (row: Row) => string | number | undefined> = {
  name: row => natural(row.name || row.id),
  state: row => row.state,
  backend: row => row.backend,
  host: row => (row.host ? natural(row.host) : undefined),
  cpu: row => row.vcpus ?? row.cpuShare,
  memory: row => row.memoryBytes,
  owner: row => row.owner || undefined,
  age: row => (row.createTime === undefined ? undefined : -row.createTime),
}

interface Entry {
  row: Row
  key: string | number | undefined
  id: string
}

export class View {
  private entries: Entry[] = []
  private wanted: Wanted | undefined

  /** The rows in their order, after a batch that touched `changed`, or after all may have changed. */
  update(rows: ReadonlyMap<string, Row>, wanted: Wanted, changed: ReadonlySet<string> | 'all'): Row[] {
    const key = keys[wanted.sort]
    const entryOf = (row: Row): Entry => ({ row, key: key(row), id: natural(row.id) })
    const order = comparer(wanted.descending)
    if (changed === 'all' || wanted !== this.wanted || changed.size > rows.size / 4) {
      this.entries = []
      for (const row of rows.values()) if (fits(row, wanted)) this.entries.push(entryOf(row))
      this.entries.sort(order)
    } else if (changed.size > 0) {
      const came: Entry[] = []
      for (const id of changed) {
        const row = rows.get(id)
        if (row && fits(row, wanted)) came.push(entryOf(row))
      }
      this.entries = merge(
        this.entries.filter(e => !changed.has(e.row.id)),
        came.sort(order),
        order,
      )
    }
    this.wanted = wanted
    return this.entries.map(e => e.row)
  }
}

function comparer(descending: boolean) {
  const sign = descending ? -1 : 1
  return (a: Entry, b: Entry) => {
    if (a.key !== b.key) {
      if (a.key === undefined) return 1 // what is not known stands last in either direction
      if (b.key === undefined) return -1
      return (a.key < b.key ? -1 : 1) * sign
    }
    return a.id < b.id ? -1 : a.id > b.id ? 1 : 0
  }
}

function merge<T>(a: T[], b: T[], order: (x: T, y: T) => number): T[] {
  if (b.length === 0) return a
  const all: T[] = []
  let i = 0
  for (const next of b) {
    while (i < a.length && order(a[i]!, next) <= 0) all.push(a[i++]!)
    all.push(next)
  }
  while (i < a.length) all.push(a[i++]!)
  return all
}
