import { createContext, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react'

import type { Row } from './rows'
import { followMatches, type MatchState, noFilter } from './matches'
import { Fleet, type FleetState } from './store'
import { View, type Wanted } from './view'

export const FleetContext = createContext<Fleet>(new Fleet())

export const useFleet = () => useContext(FleetContext)

export function useFleetState(): FleetState {
  const fleet = useFleet()
  return useSyncExternalStore(fleet.subscribe, fleet.snapshot)
}

export function useMatches(filter: string): MatchState {
  const fleet = useFleet()
  const [state, setState] = useState(noFilter)
  useEffect(() => {
    setState({ ...noFilter, filter })
    return filter ? followMatches(fleet, filter, setState) : undefined
  }, [fleet, filter])
  return state
}

/** The rows that are wanted, in their order, as of now. */
export function useRows(wanted: Wanted): Row[] {
  const fleet = useFleet()
  const { rows, version } = useFleetState()
  const view = useMemo(() => new View(), [])
  const changed = useRef<Set<string> | 'all'>('all')
  useEffect(() => {
    changed.current = 'all'
    return fleet.onChanges(ids => {
      if (changed.current !== 'all') ids.forEach(id => (changed.current as Set<string>).add(id))
    })
  }, [fleet])
  return useMemo(() => {
    const list = view.update(rows, wanted, changed.current)
    changed.current = new Set()
    return list
    // version stands for the contents of rows
  }, [view, rows, version, wanted])
}
