// What a VM measures, since this page was opened: the backends tell only the present.
import { useQuery } from '@tanstack/react-query'
import { useMemo, useState } from 'react'

import { api, body, problemOf, type VM } from '../api/client'
import { bytes, clock, decimal, time } from '../ui/format'
import { Button, Card, Loading, ProblemNote } from '../ui/parts'
import { Rows } from './cards'
import { type Measure, Plot } from './plot'
import { addSample, type Counter, rates, type Sample } from './samples'

const everyMs = 5000

function useSamples(id: string) {
  return useQuery({
    queryKey: ['samples', id],
    refetchInterval: everyMs,
    staleTime: everyMs,
    structuralSharing: (before: unknown, next: unknown) =>
      addSample((before as readonly Sample[] | undefined) ?? [], (next as [Sample])[0]),
    queryFn: async ({ signal }): Promise<readonly Sample[]> => {
      const m = await body(api.GET('/vms/{vm}/metrics', { params: { path: { vm: id } }, signal }))
      return [{ ...m, at: m.sampleTime ? Date.parse(m.sampleTime) : Date.now() }]
    },
  })
}

export function Charts({ vm }: { vm: VM }) {
  const samples = useSamples(vm.id)
  const [asTable, setAsTable] = useState(false)
  const data = samples.data
  const sampleTime = data?.at(-1)?.sampleTime
  return (
    <Card
      title="Use"
      aside={
        data && (
          <span className="card-aside">
            {sampleTime && <span className="hint">measured {time(sampleTime)}</span>}
            <Button small aria-pressed={asTable} onClick={() => setAsTable(!asTable)}>
              Table
            </Button>
          </span>
        )
      }
    >
      {data ? (
        <Measures samples={data} vm={vm} asTable={asTable} />
      ) : samples.error ? (
        <ProblemNote problem={problemOf(samples.error)} retry={() => void samples.refetch()} />
      ) : (
        <Loading lines={5} />
      )}
    </Card>
  )
}

const perSecond = (n: number) => `${bytes(n)}/s`
const percent = (n: number) => `${decimal(n)} %`

function share({ cpuUsedPercent, vcpuUtilisation }: Sample) {
  const each = Object.values(vcpuUtilisation ?? {})
  return cpuUsedPercent ?? (each.length > 0 ? (100 * each.reduce((a, b) => a + b, 0)) / each.length : null)
}

function measuresOf(samples: readonly Sample[], vm: VM): Measure[] {
  const rate = (name: string, counter: Counter): Measure => ({ name, values: rates(samples, counter), text: perSecond, binary: true })
  const all: Measure[] = [
    { name: 'Processor', values: samples.map(share), text: percent, binary: false, most: 100 },
    {
      name: 'Memory',
      values: samples.map(s => s.memoryActualBytes ?? null),
      text: bytes,
      binary: true,
      most: vm.memory?.dynamicMaxBytes ?? vm.memory?.staticMaxBytes,
    },
    rate('Disk, read', 'diskReadBytes'),
    rate('Disk, written', 'diskWriteBytes'),
    rate('Network, in', 'netReceivedBytes'),
    rate('Network, out', 'netSentBytes'),
  ]
  return all.filter(m => m.values.some(v => v !== null))
}

function Measures({ samples, vm, asTable }: { samples: readonly Sample[]; vm: VM; asTable: boolean }) {
  const measures = useMemo(() => measuresOf(samples, vm), [samples, vm])
  const times = useMemo(() => samples.map(s => s.at / 1000), [samples])
  if (measures.length === 0) return <p className="empty">The backend has measured nothing yet.</p>
  if (asTable)
    return (
      <Rows
        items={times.map((at, i) => ({ at, i })).reverse()}
        name="Use"
        empty=""
        head={['Time', ...measures.map(m => m.name)]}
        row={({ at, i }) =>
          [clock(at * 1000), ...measures.map(({ values, text }) => (values[i] == null ? '–' : text(values[i])))].map(cell => (
            <span className="number">{cell}</span>
          ))
        }
      />
    )
  return (
    <div className="charts">
      {measures.map(m => (
        <Plot key={m.name} {...m} times={times} />
      ))}
    </div>
  )
}
