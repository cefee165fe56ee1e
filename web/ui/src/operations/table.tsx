import { Link } from 'wouter'

import { Progress } from '../actions/toasts'
import type { Operation } from '../api/client'
import { useFleetState } from '../fleet/hooks'
import { useFollowed } from '../actions/context'
import { ago, time, useNow, words } from '../ui/format'

export function OperationTable({ operations, withoutVM }: { operations: readonly Operation[]; withoutVM?: boolean }) {
  return (
    <ul className="operations">
      {operations.map(o => (
        <Line key={o.id} operation={o} withoutVM={withoutVM ?? false} />
      ))}
    </ul>
  )
}

function Line({ operation, withoutVM }: { operation: Operation; withoutVM: boolean }) {
  const { rows } = useFleetState()
  const now = useNow()
  useFollowed(operation)
  const name = operation.vm && (rows.get(operation.vm)?.name || operation.vm)
  const made = operation.result?.vm && operation.result.vm !== operation.vm ? operation.result.vm : undefined
  return (
    <li className="operation">
      <div className="operation-what">
        <strong>{words(operation.verb)}</strong>
        {!withoutVM && operation.vm && <Link href={`/vms/${operation.vm}`}>{name}</Link>}
        {made && (
          <span className="hint">
            made <Link href={`/vms/${made}`}>{rows.get(made)?.name || made}</Link>
          </span>
        )}
        <span className="hint">{operation.backend}</span>
        <time className="hint number" dateTime={operation.createTime} title={time(operation.createTime)}>
          {ago(Date.parse(operation.createTime), now)}
        </time>
      </div>
      <Progress operation={operation} quiet={operation.progress === undefined} />
    </li>
  )
}
