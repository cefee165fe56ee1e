// Which VMs fit a filter is for the API to say, in its own language; what changes later is asked
// about again, and only that.
import { isAbort, type Problem, problemOf } from '../api/client'
import { listVMs } from './list'
import type { Fleet } from './store'

export interface MatchState {
  filter: string
  ids: ReadonlySet<string> | undefined // undefined: not known yet, or there is no filter
  problem: Problem | undefined
}

const askAtOnce = 60 // ids of 40 characters, within the 4,096 that a filter may have
const askAnewAbove = 600

export const noFilter: MatchState = { filter: '', ids: undefined, problem: undefined }

/** Tells the matches of a filter, and what becomes of them, until it is ended. */
export function followMatches(fleet: Fleet, filter: string, tell: (state: MatchState) => void): () => void {
  const stop = new AbortController()
  const waiting = new Set<string>()
  let ids = new Set<string>()
  let known = false
  let busy = false

  const ask = async (text: string) => {
    const found = new Set<string>()
    await listVMs({ fields: 'id', filter: text }, stop.signal, vms => vms.forEach(vm => found.add(vm.id)))
    return found
  }
  const readAll = async () => {
    waiting.clear()
    ids = await ask(filter)
    known = true
  }
  const readSome = async () => {
    const some = [...waiting].slice(0, askAtOnce)
    some.forEach(id => waiting.delete(id))
    const found = await ask(`(${filter}) AND id=(${some.map(id => `"${id}"`).join(' OR ')})`)
    ids = new Set(ids)
    for (const id of some) if (!found.has(id)) ids.delete(id)
    found.forEach(id => ids.add(id))
  }
  const work = async () => {
    if (busy) return
    busy = true
    try {
      if (!known || waiting.size > askAnewAbove) await readAll()
      while (waiting.size > 0) await readSome()
      tell({ filter, ids, problem: undefined })
    } catch (thrown) {
      if (!isAbort(thrown) && !stop.signal.aborted) tell({ filter, ids: known ? ids : undefined, problem: problemOf(thrown) })
    } finally {
      busy = false
    }
  }
  const forget = fleet.onChanges(changed => {
    if (!known) return
    changed.forEach(id => waiting.add(id))
    void work()
  })
  void work()
  return () => {
    forget()
    stop.abort()
  }
}
