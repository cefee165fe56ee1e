// What one has begun, newest first.
import { useSearchParams } from 'wouter'

import type { Schemas } from '../api/client'
import { useFleetState } from '../fleet/hooks'
import { count } from '../ui/format'
import { useTitle } from '../ui/parts'
import { OperationMark } from '../ui/state'
import { OperationTable } from './table'

const states: readonly Schemas['OperationState'][] = ['RUNNING', 'FAILED', 'CANCELLED', 'UNKNOWN', 'SUCCEEDED']

export function OperationsPage() {
  useTitle('Operations')
  const { operations, loading } = useFleetState()
  const [params, setParams] = useSearchParams()
  const wanted = states.find(s => s === params.get('state'))
  const shown = wanted ? operations.filter(o => o.state === wanted) : operations
  return (
    <div className="page">
      <h1>Operations</h1>
      <p className="hint">What you have begun through this gateway. What has ended stays for an hour at least.</p>
      <div className="chips" role="group" aria-label="States">
        {states.map(s => (
          <button
            key={s}
            type="button"
            className="chip"
            aria-pressed={s === wanted}
            onClick={() => setParams(s === wanted ? {} : { state: s })}
          >
            <OperationMark state={s} />
            <span className="number">{count(operations.filter(o => o.state === s).length)}</span>
          </button>
        ))}
      </div>
      {shown.length > 0 ? (
        <div className="card">
          <OperationTable operations={shown} />
        </div>
      ) : (
        <p className="empty">
          {loading ? 'Reading…' : wanted ? 'None of these.' : 'Nothing yet: start, stop or move a VM, and it is followed here.'}
        </p>
      )}
    </div>
  )
}
