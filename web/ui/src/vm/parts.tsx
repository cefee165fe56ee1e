// The parts of a VM that are read by themselves.
import { useQuery } from '@tanstack/react-query'

import { api, body, problemOf } from '../api/client'
import { bytes, time } from '../ui/format'
import { Card, Facts, Loading, ProblemNote } from '../ui/parts'
import { Rows } from './cards'

function useRead<T>(id: string, name: string, read: (signal: AbortSignal) => Promise<T>) {
  return useQuery({ queryKey: ['vm', id, name], queryFn: ({ signal }) => read(signal) })
}

interface State<T> {
  data: T | undefined
  error: Error | null
  refetch(): unknown
}

function Part<T>({ title, state, children }: { title: string; state: State<T>; children(data: T): React.ReactNode }) {
  return (
    <Card title={title}>
      {state.data !== undefined ? (
        children(state.data)
      ) : state.error ? (
        <ProblemNote problem={problemOf(state.error)} retry={() => void state.refetch()} />
      ) : (
        <Loading lines={3} />
      )}
    </Card>
  )
}

export function Guest({ id }: { id: string }) {
  const guest = useRead(id, 'guestMetrics', signal => body(api.GET('/vms/{vm}/guestMetrics', { params: { path: { vm: id } }, signal })))
  return (
    <Part title="Guest" state={guest}>
      {g => (
        <Facts
          facts={[
            ['System', g.osVersion?.['name']],
            ['Kernel', g.osVersion?.['uname']],
            ['Drivers', g.driversUpToDate === undefined ? undefined : g.driversUpToDate ? 'up to date' : 'out of date'],
            ['Agent', g.live === undefined ? undefined : g.live ? 'answers' : 'does not answer'],
            ['Addresses', g.addresses?.join(', ')],
            ['Seen', time(g.sampleTime)],
          ]}
        />
      )}
    </Part>
  )
}

export function Consoles({ id }: { id: string }) {
  const consoles = useRead(
    id,
    'consoles',
    async signal => (await body(api.GET('/vms/{vm}/consoles', { params: { path: { vm: id } }, signal }))).consoles,
  )
  return (
    <Part title="Consoles" state={consoles}>
      {list => (
        <Rows
          items={list}
          name="Consoles"
          empty="It has no console now."
          head={['Protocol', 'Port', 'Id']}
          row={c => [c.protocol, c.port, <code>{c.id}</code>]}
        />
      )}
    </Part>
  )
}

export function CrashDumps({ id }: { id: string }) {
  const dumps = useRead(
    id,
    'crashDumps',
    async signal => (await body(api.GET('/vms/{vm}/crashDumps', { params: { path: { vm: id } }, signal }))).crashDumps,
  )
  if (dumps.data?.length === 0) return null
  return (
    <Part title="Crash dumps" state={dumps}>
      {list => (
        <Rows
          items={list}
          name="Crash dumps"
          empty="None."
          head={['Id', 'Image', 'Size']}
          row={d => [<code>{d.id}</code>, d.image?.displayName ?? d.image?.id, d.sizeBytes === undefined ? '' : bytes(d.sizeBytes)]}
        />
      )}
    </Part>
  )
}

export function Tpms({ id }: { id: string }) {
  const tpms = useRead(id, 'tpms', async signal => (await body(api.GET('/vms/{vm}/tpms', { params: { path: { vm: id } }, signal }))).tpms)
  if (tpms.data?.length === 0) return null
  return (
    <Part title="TPMs" state={tpms}>
      {list => (
        <Rows
          items={list}
          name="TPMs"
          empty="None."
          head={['Id', 'Model', 'Protected']}
          row={t => [<code>{t.id}</code>, t.model, t.protected ? 'yes' : 'no']}
        />
      )}
    </Part>
  )
}
