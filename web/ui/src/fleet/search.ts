// What the fleet's table shows stands in the address, so that it can be sent, and the back button
// leads to what was seen before.
import { useCallback, useMemo } from 'react'
import { useSearchParams } from 'wouter'

import type { State } from '../api/client'
import type { Column } from './view'

export interface Search {
  text: string
  states: readonly State[]
  backends: readonly string[]
  filter: string
  sort: Column
  descending: boolean
}

const columns: readonly Column[] = ['name', 'state', 'backend', 'host', 'cpu', 'memory', 'owner', 'age']

export function useSearch(): [Search, (change: Partial<Search>, keepHistory?: boolean) => void] {
  const [params, setParams] = useSearchParams()
  const search = useMemo((): Search => {
    const list = (name: string) => params.get(name)?.split(',').filter(Boolean) ?? []
    const order = params.get('sort') ?? 'name'
    const sort = columns.find(c => c === order.replace(/^-/, '')) ?? 'name'
    return {
      text: params.get('q') ?? '',
      states: list('state') as State[],
      backends: list('backend'),
      filter: params.get('filter') ?? '',
      sort,
      descending: order.startsWith('-'),
    }
  }, [params])
  const change = useCallback(
    (part: Partial<Search>, keepHistory = true) => {
      const next = { ...search, ...part }
      const query = new URLSearchParams()
      const set = (name: string, value: string) => value && query.set(name, value)
      set('q', next.text)
      set('state', next.states.join())
      set('backend', next.backends.join())
      set('filter', next.filter)
      if (next.sort !== 'name' || next.descending) set('sort', (next.descending ? '-' : '') + next.sort)
      setParams(query, { replace: keepHistory })
    },
    [search, setParams],
  )
  return [search, change]
}

/** The same, in the API's own filter language. */
export function apiFilter(search: Search): string {
  const oneOf = (member: string, values: readonly string[]) => `(${values.map(v => `${member}=${v}`).join(' OR ')})`
  const parts: string[] = []
  if (search.filter) parts.push(`(${search.filter})`)
  if (search.states.length > 0) parts.push(oneOf('state', search.states))
  if (search.backends.length > 0) parts.push(oneOf('backend', search.backends))
  for (const word of search.text.split(/\s+/).filter(Boolean)) parts.push(JSON.stringify(word))
  return parts.join(' AND ')
}
