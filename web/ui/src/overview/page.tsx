// The whole at a glance: what runs where, what there is room for, what goes wrong.
import { useQuery } from '@tanstack/react-query'
import { useMemo } from 'react'
import { Link } from 'wouter'

import { api, type Backend, body, type Host, problemOf, type State } from '../api/client'
import { useFleetState } from '../fleet/hooks'
import type { Row } from '../fleet/rows'
import { OperationTable } from '../operations/table'
import { useBackends, useSession } from '../session/session'
import { bytes, count, decimal, words } from '../ui/format'
import { Card, Loading, Meter, ProblemNote, useTitle } from '../ui/parts'
import { inOrder, StateMark, toneOf } from '../ui/state'

interface Sum {
  total: number
  states: ReadonlyMap<State, number>
}

function sums(rows: Iterable<Row>): ReadonlyMap<string, Sum> {
  const all = new Map<string, { total: number; states: Map<State, number> }>()
  for (const row of rows) {
    const sum = all.get(row.backend) ?? { total: 0, states: new Map<State, number>() }
    sum.total++
    sum.states.set(row.state, (sum.states.get(row.state) ?? 0) + 1)
    all.set(row.backend, sum)
  }
  return all
}

export function OverviewPage() {
  useTitle('Overview')
  const { rows, version, loading, operations, unreachable } = useFleetState()
  const { data: backends } = useBackends()
  const byBackend = useMemo(
    () => sums(rows.values()),
    // version stands for the contents of rows
    [rows, version],
  )
  const lately = operations.filter(o => o.state !== 'SUCCEEDED').slice(0, 8)
  const shown = (backends ?? []).filter(b => b.loggedIn)
  return (
    <div className="page">
      <h1>Overview</h1>
      <div className="cards">
        {!backends && (
          <Card title="Backends">
            <Loading lines={6} />
          </Card>
        )}
        {shown.map(b => (
          <BackendCard
            key={b.id}
            backend={b}
            sum={byBackend.get(b.id)}
            down={unreachable.find(u => u.backend === b.id)?.problem.title}
            loading={loading}
          />
        ))}
      </div>
      <Hosts rows={rows} version={version} known={!loading || rows.size > 0} />
      <Card title="Running, failed or cancelled lately" aside={<Link href="/operations">All operations</Link>}>
        {lately.length > 0 ? <OperationTable operations={lately} /> : <p className="empty">Nothing runs, and nothing has failed.</p>}
      </Card>
    </div>
  )
}

function BackendCard({
  backend,
  sum,
  down,
  loading,
}: {
  backend: Backend
  sum: Sum | undefined
  down: string | undefined
  loading: boolean
}) {
  const entries = inOrder(sum?.states.keys() ?? []).map(s => [s, sum!.states.get(s)!] as const)
  const release = backend.release
  return (
    <Card title={backend.displayName} aside={<span className="hint">{release && `${release.product ?? ''} ${release.version}`}</span>}>
      {down && (
        <p className="loss" role="status">
          {down}. What is shown of it may be old.
        </p>
      )}
      <p className="big">
        {loading && !sum ? (
          <span className="hint">Reading…</span>
        ) : (
          <Link href={`/vms?backend=${backend.id}`}>
            <span className="number">{count(sum?.total ?? 0)}</span> VMs
          </Link>
        )}
      </p>
      <div className="share" aria-hidden>
        {entries.map(([s, n]) => (
          <span key={s} data-tone={toneOf(s)} style={{ flexGrow: n }} />
        ))}
      </div>
      <ul className="counts">
        {entries.map(([s, n]) => (
          <li key={s}>
            <Link href={`/vms?backend=${backend.id}&state=${s}`}>
              <StateMark state={s} />
              <span className="number">{count(n)}</span>
            </Link>
          </li>
        ))}
      </ul>
      <p className="hint">As {backend.user?.displayName}</p>
    </Card>
  )
}

interface Given {
  memory: number
  vcpus: number
  vms: number
}

/** What is given to the VMs on each host. */
function givenTo(rows: Iterable<Row>): ReadonlyMap<string, Given> {
  const all = new Map<string, Given>()
  for (const row of rows) {
    if (!row.hostId) continue
    const sum = all.get(row.hostId) ?? { memory: 0, vcpus: 0, vms: 0 }
    sum.memory += row.memoryBytes ?? 0
    sum.vcpus += row.vcpus ?? row.cpuShare ?? 0
    sum.vms++
    all.set(row.hostId, sum)
  }
  return all
}

async function readHosts(signal: AbortSignal) {
  const hosts: Host[] = []
  let pageToken: string | undefined
  do {
    const fields = 'id,backend,displayName,state,rawState,cpus,cpuUsedShare,memoryTotalBytes,memoryFreeBytes'
    const page = await body(api.GET('/hosts', { params: { query: { pageSize: 1000, fields, ...(pageToken && { pageToken }) } }, signal }))
    hosts.push(...page.hosts)
    pageToken = page.nextPageToken
  } while (pageToken)
  return hosts
}

function Hosts({ rows, version, known }: { rows: ReadonlyMap<string, Row>; version: number; known: boolean }) {
  const { generation } = useSession()
  const hosts = useQuery({ queryKey: ['hosts', generation], queryFn: ({ signal }) => readHosts(signal), refetchInterval: 30_000 })
  const given = useMemo(
    () => givenTo(rows.values()),
    // version stands for the contents of rows
    [rows, version],
  )
  return (
    <Card title={hosts.data ? `Hosts (${count(hosts.data.length)})` : 'Hosts'}>
      {hosts.error && <ProblemNote problem={problemOf(hosts.error)} retry={() => void hosts.refetch()} />}
      {hosts.data && known ? <HostTable hosts={hosts.data} given={given} /> : !hosts.error && <Loading lines={8} />}
    </Card>
  )
}

const most = 200

function HostTable({ hosts, given }: { hosts: readonly Host[]; given: ReadonlyMap<string, Given> }) {
  if (hosts.length === 0) return <p className="empty">There are no hosts that you may see.</p>
  return (
    <div className="scroll-x" tabIndex={0} role="group" aria-label="Hosts">
      <table className="plain hosts">
        <thead>
          <tr>
            <th scope="col">Host</th>
            <th scope="col">State</th>
            <th scope="col">VMs</th>
            <th scope="col">Memory</th>
            <th scope="col">Processors</th>
          </tr>
        </thead>
        <tbody>
          {hosts.slice(0, most).map(h => {
            const use = given.get(h.id) ?? { memory: 0, vcpus: 0, vms: 0 }
            return (
              <tr key={h.id}>
                <th scope="row">
                  <Link href={`/vms?filter=${encodeURIComponent(`host.id="${h.id}"`)}`}>{h.displayName}</Link>
                  <span className="hint"> {h.backend}</span>
                </th>
                <td>
                  <span
                    className="state"
                    data-tone={h.state === 'ENABLED' ? 'good' : h.state === 'ERROR' || h.state === 'OFFLINE' ? 'bad' : 'calm'}
                  >
                    {words(h.state)}
                  </span>
                </td>
                <td className="number">{count(use.vms)}</td>
                <td>
                  <Memory host={h} use={use} />
                </td>
                <td>
                  <Processors host={h} use={use} />
                </td>
              </tr>
            )
          })}
        </tbody>
      </table>
      {hosts.length > most && <p className="hint">And {count(hosts.length - most)} more.</p>}
    </div>
  )
}

function Memory({ host, use }: { host: Host; use: Given }) {
  const total = host.memoryTotalBytes
  if (total === undefined) return <span className="hint">unknown</span>
  // Where the backend does not tell what is free, what its VMs were given stands for what is used.
  const used = host.memoryFreeBytes === undefined ? use.memory : total - host.memoryFreeBytes
  const word = host.memoryFreeBytes === undefined ? 'given to VMs' : 'used'
  return <Meter label={`Memory of ${host.displayName}`} value={used} most={total} text={`${bytes(used)} of ${bytes(total)} ${word}`} />
}

function Processors({ host, use }: { host: Host; use: Given }) {
  if (host.cpus === undefined) return <span className="hint">unknown</span>
  const used = host.cpuUsedShare === undefined ? use.vcpus : host.cpuUsedShare
  const word = host.cpuUsedShare === undefined ? 'given to VMs' : 'used'
  return (
    <Meter
      label={`Processors of ${host.displayName}`}
      value={used}
      most={host.cpus}
      text={`${decimal(used)} of ${count(host.cpus)} ${word}`}
    />
  )
}
